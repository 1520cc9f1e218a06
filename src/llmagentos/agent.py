"""`Agent`: the user's handle on a model, a program, an environment and what they learn.

In: what a person wants done. Out: frozen results that are worth printing.
It does not know how anything is done: it asks the running system (`AgentOS`) and its cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmagentos.agentos import AgentOS
from llmagentos.errors import ConfigError, KernelError, LearningError, NotFoundError
from llmagentos.records.episode import Episode
from llmagentos.records.feedback import Feedback, FeedbackKind
from llmagentos.records.generation import Sampling
from llmagentos.records.identity import JSON
from llmagentos.records.progress import Progress
from llmagentos.records.release import Release, Verdict
from llmagentos.records.task import Split, Task
from llmagentos.releases.prompts import play_arguments
from llmagentos.releases.routes import digest_of

if TYPE_CHECKING:
    from llmagentos.data.intake import Intake
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.evaluation.metrics import SkillReport
    from llmagentos.kernel.handle import ProcessHandle
    from llmagentos.kernel.rollouts import Policy
    from llmagentos.models.card import ModelCard
    from llmagentos.records.fact import FactChange

FIRST_SKILLS = ("SupportDesk-v0", "Drills-v0")
"""What an agent that has learned nothing and has no environment is measured on."""

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent said to a task in words."""

    text: str
    episode: Episode = field(repr=False)
    """The run that led to it."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Runs:
    """Finished runs of an agent."""

    episodes: tuple[Episode, ...] = field(repr=False)

    @property
    def success(self) -> float:
        """Share of strict successes."""
        return sum(episode.success for episode in self.episodes) / max(1, len(self.episodes))

    @property
    def lenient(self) -> float:
        """Share of goals reached, whatever the form of the actions."""
        return sum(episode.lenient for episode in self.episodes) / max(1, len(self.episodes))

    @property
    def reward(self) -> float:
        """Mean sum of rewards."""
        return sum(episode.reward for episode in self.episodes) / max(1, len(self.episodes))

    def __str__(self) -> str:
        failed = sum(episode.outcome != "finished" for episode in self.episodes)
        text = f"{len(self.episodes)} runs: {self.success:.0%} success, {self.lenient:.0%} lenient"
        text += f", mean reward {self.reward:.2f}"
        return text + (f", {failed} not finished" if failed else "")

    def __repr__(self) -> str:
        return f"Runs({self})"


@dataclass(frozen=True, slots=True)
class Training:
    """What training led to: one verdict for each candidate that the gate judged."""

    verdicts: tuple[Verdict, ...]

    @property
    def released(self) -> bool:
        """Whether anything went live."""
        return any(verdict.released for verdict in self.verdicts)

    def __str__(self) -> str:
        return "\n".join(f"{'released' if v.released else 'refused'}: {v.reason}" for v in self.verdicts)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Success on held-out tasks, skill by skill, with intervals."""

    reports: tuple[SkillReport, ...]

    def __str__(self) -> str:
        return "\n".join(str(report) for report in self.reports)


class Agent:
    """An agent on a model you own.

    `Agent()` runs on the default model in the default home. The model's name is checked at once; nothing is fetched,
    loaded or locked before it is needed. Errors are those of the rooms it asks, each saying what to do.
    """

    def __init__(
        self,
        model_name: str | None = None,
        home: str | Path | None = None,
        *,
        environment: str | LanguageEnvironment | None = None,
        tools: Sequence[str] = (),
        system: AgentOS | None = None,
    ) -> None:
        """`environment` is what the agent plays when `run` is given a function. `tools` names those of the system that
        `execute_task` offers, such as `search_knowledge`. `system` takes an open AgentOS.
        """
        self.system = system or AgentOS(home, model_name)
        self.tools = tuple(tools)
        self.environment = None if environment is None else environment_name(environment)

    def connect_data_source(self, location: str | Path, *, allow_private: bool = False) -> Intake:
        """Read a text file, a folder or a web page into the home; says what was added and what was left out and why.

        `allow_private` lets addresses of your own network through.
        """
        return self.system.take_in(location, allow_private=allow_private)

    def select_model(self, name: str) -> ModelCard:
        """Use another base model from now on: `default`, a hub name, a folder, a GGUF file, a file in a package.

        The model is fetched when it is first needed. Its releases are its own: skills do not move between models.
        """
        self.system = AgentOS(self.system.home, name, on_progress=self.system.on_progress)
        return self.system.library.show(name)

    def train_model(
        self, environment: str | None = None, *, minutes: float = 10.0, on_progress: OnProgress | None = None
    ) -> Training:
        """Learn from the connected documents and from the environment, within `minutes` in all, behind the gate.

        Raises `LearningError` when there is neither.
        """
        target = environment or self.environment
        documents = self.system.store.documents.list()
        if not documents and target is None:
            raise LearningError(
                "There is nothing to learn from: no documents are connected and no environment is given. "
                'Connect text with connect_data_source("FOLDER or URL"), or name one: train_model("Drills-v0").'
            )
        share = minutes / ((1 if documents else 0) + (1 if target else 0))
        verdicts: list[Verdict] = []
        if documents:
            verdicts.append(self.system.cycle.study(documents, share, on_progress or _quiet))
        if target is not None:
            verdicts.append(self.learn(target, minutes=share, on_progress=on_progress))
        return Training(tuple(verdicts))

    def learn(
        self,
        environment: str | LanguageEnvironment | None = None,
        *,
        minutes: float = 10.0,
        learner: str = "auto",
        seed: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Verdict:
        """Learn an environment by name, by `./file.py:Name-v0`, or a registered Gymnasium environment itself."""
        name = environment_name(environment) if environment is not None else self._own_environment("learn")
        return self.system.cycle.learn(
            name, minutes=minutes, learner=learner, seed=seed, on_progress=on_progress or _quiet
        )

    def evaluate_model(
        self,
        environment: str | None = None,
        *,
        release: str | None = None,
        tasks: int = 50,
        split: Split = "report",
        on_progress: OnProgress | None = None,
    ) -> Evaluation:
        """Measure a release (the live one by default) on held-out tasks.

        Without `environment`: on the agent's own, else on every skill learned, else on two built-in ones.
        """
        own = (self.environment,) if self.environment else ()
        names = (environment,) if environment else own or self.system.releases.live().skills or FIRST_SKILLS
        evaluate = self.system.cycle.evaluate
        show = on_progress or _quiet
        return Evaluation(
            tuple(evaluate(name, release=release, tasks=tasks, split=split, on_progress=show) for name in names)
        )

    def give_feedback(
        self, about: Answer | Episode | str, kind: FeedbackKind, text: str = "", *, reviewer: str = ""
    ) -> Feedback:
        """Say what you think of an answer or a run: good, bad, or, with the right text, a correction or better one.

        The next learning uses it; `AgentOS.withdraw_feedback` takes it back.
        """
        episode = about.episode if isinstance(about, Answer) else about
        identifier = episode if isinstance(episode, str) else episode.id
        return self.system.give_feedback(identifier, kind, text, reviewer=reviewer)

    def integrate_knowledge(self, statement: str, *, source: str = "person") -> FactChange:
        """State a fact; the answer says whether it was added, confirmed, or superseded an older one."""
        return self.system.knowledge.add(statement, source=source)

    def ask_knowledge(self, question: str, limit: int = 5) -> list[str]:
        """Statements that answer `question`, best first."""
        return [found.fact.statement for found in self.system.knowledge.ask(question, limit)]

    def execute_task(self, task: str, *, max_tokens: int = 256, on_text: Callable[[str], None] | None = None) -> Answer:
        """Do a task given in words; the run is recorded like any other."""
        from llmagentos.kernel.specification import ProcessSpec

        if not task.strip():
            raise ConfigError('The task is empty. Say what to do, as in: execute_task("Translate this sentence.").')
        release, adapter = self.system.serving()
        handle = self.system.kernel.submit(
            ProcessSpec(
                program="react",
                arguments=self._react(release, goal=task, tools=self._tool_specs()),
                release=release.id,
                adapter=adapter,
                sampling=Sampling(max_tokens=max_tokens),
                on_text=on_text,
            )
        )
        return _answer(handle)

    def chat(
        self,
        messages: Sequence[dict[str, str]],
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """The next turn of a dialogue, `{"role", "content"}` records, oldest first; recorded like any other run."""
        from llmagentos.kernel.specification import ProcessSpec

        release, adapter = self.system.serving()
        handle = self.system.kernel.submit(
            ProcessSpec(
                program="chat",
                arguments={"messages": list(messages)},
                release=release.id,
                adapter=adapter,
                sampling=Sampling(max_tokens=max_tokens, temperature=temperature),
                on_text=on_text,
            )
        )
        return _answer(handle)

    def ask(self, skill: str, request: str | Sequence[str], *, temperature: float = 0.0) -> Answer:
        """What the agent replies to a new request of a skill that was learned from requests: a ticket, or, as a
        sequence, what a person has said in a conversation, turn by turn.

        The skill is known here, so that its own adapter answers whatever the request looks like. The run is kept, and
        feedback on it is what the next learning of the skill uses. `ConfigError` for a skill that has tasks of its own
        only, `KernelError` when the run ended without a reply.
        """
        from llmagentos.kernel.rollouts import Rollouts

        environment = self.environment_of(skill)
        task = environment.asked([request] if isinstance(request, str) else request)
        release, adapter = self.system.serving()
        if environment.skill in release.skills:
            adapter = digest_of(release.manifest.artefacts, environment.skill, self.system.store.blobs.get)
        policy = self._policy(environment, release, adapter, Sampling(environment.reply_tokens, temperature))
        (episode,) = Rollouts(self.system.kernel).play([task], policy, labels={"purpose": "asked"})
        if episode.outcome != "finished":
            raise KernelError(f"Run {episode.id} ended as {episode.outcome}: {episode.error or 'no reason recorded'}")
        return Answer(episode.steps[-1].action, episode)

    def run(
        self,
        what: Task | str | Callable[[Any], Any],
        *,
        tasks: int = 1,
        split: Split = "train",
        program: str = "react",
        seed: int = 0,
        sampling: Sampling | None = None,
        on_progress: OnProgress | None = None,
    ) -> Runs:
        """Play one task, `tasks` tasks of an environment, or let a function observation -> action play the agent's own.

        Greedy and with the environment's own limit of a reply unless `sampling` says otherwise. A run that fails is an
        episode that says so; it does not raise.
        """
        from llmagentos.kernel.rollouts import Policy, Rollouts
        from llmagentos.records.process import Limits

        if not isinstance(what, Task | str) and not callable(what):
            raise ConfigError(f"run() takes a Task, an environment's name or a function, not {type(what).__name__}.")
        if isinstance(what, Task):
            name, chosen = what.environment, [what]
            environment = self.system.make_environment(name)
        else:
            name = what if isinstance(what, str) else self._own_environment("run a function")
            environment = self.environment_of(name)
            chosen = environment.tasks(split, tasks, seed)
        if callable(what):
            limits = Limits(steps=environment.most_steps)
            policy = Policy("", program="policy", arguments={"function": what}, limits=limits)
        else:
            settings = sampling or Sampling(max_tokens=environment.reply_tokens, seed=seed)
            policy = self._policy(environment, *self.system.serving(), settings, program)
        rollouts = Rollouts(self.system.kernel)
        return Runs(tuple(rollouts.play(chosen, policy, stage=f"running {name}", on_progress=on_progress)))

    def environment_of(self, skill: str) -> LanguageEnvironment:
        """The environment of that name, or in which the skill of that name was learned."""
        from llmagentos.players import environment_named

        return environment_named(skill, self.system.make_environment, self.system.store)

    def _policy(
        self,
        environment: LanguageEnvironment,
        release: Release,
        adapter: str | None,
        sampling: Sampling,
        program: str = "react",
    ) -> Policy:
        """A release playing an environment by a program, with the environment's own limit of a run."""
        from llmagentos.kernel.rollouts import Policy
        from llmagentos.records.process import Limits

        arguments = self._react(release, environment.skill) if program == "react" else {}
        return Policy(release.id, adapter, program, arguments, sampling, Limits(steps=environment.most_steps))

    def _react(self, release: Release, skill: str = "", **arguments: JSON) -> dict[str, JSON]:
        read, constrained = self.system.store.blobs.get, self.system.settings.constrained
        return arguments | play_arguments(release.manifest.artefacts, skill, read, constrained=constrained)

    def _tool_specs(self) -> list[dict[str, Any]]:
        known = {spec.name: asdict(spec) for spec in self.system.toolbox.specs} if self.tools else {}
        for name in self.tools:
            if name not in known:
                raise NotFoundError("tool", name, sorted(known))
        return [known[name] for name in self.tools]

    def _own_environment(self, wish: str) -> str:
        if self.environment is None:
            raise ConfigError(f'To {wish}, the agent needs an environment: Agent(environment="SupportDesk-v0").')
        return self.environment

    def __repr__(self) -> str:
        where = f", environment={self.environment!r}" if self.environment else ""
        return f"Agent({self.system!r}{where})"


def environment_name(environment: Any) -> str:
    """The name under which `environment` can be made again in any process."""
    if isinstance(environment, str):
        return environment
    name = getattr(environment, "name", None)
    spec = getattr(environment, "spec", None)
    if isinstance(name, str) and name:
        return name
    if spec is not None:
        return str(spec.id)
    raise ConfigError(
        f"{type(environment).__name__} has no name to make it by again. Register it with gymnasium.register(id=...) "
        "and give that id, or give its file as ./my_env.py:MyEnv-v0."
    )


def _answer(handle: ProcessHandle) -> Answer:
    """Wait for the answer; Ctrl-C ends the run as cancelled, which is recorded, and goes on up."""
    try:
        return Answer(str(handle.result()), handle.episode())
    except KeyboardInterrupt:
        handle.cancel()
        raise


def _quiet(event: Progress) -> None:
    """Nobody is looking."""
