"""How each system call is answered, live or from the journal.

In: a process and its call. Out: a reply, a fault to raise in the program, or what has to be waited for.
The journal has the call before anything happens and the reply before it is returned; the intent of a tool call
with an effect is synced to the disk first.
It does not know how programs are run or scheduled.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import msgspec

from llmagentos.errors import BudgetExceeded, EnvironmentFault, KernelError, LLMAgentOSError
from llmagentos.kernel.collaborators import Env, JournalStore, PermissionRules, Tools
from llmagentos.kernel.journaling import RecordedCall, call_body, describe_call, fault_body, reply_body
from llmagentos.kernel.process import Abandoned, Generating, Pause, Process, Sleeping, Waiting
from llmagentos.kernel.run import Run
from llmagentos.kernel.stage import Stage, plain
from llmagentos.kernel.streaming import TextEmitter
from llmagentos.models.engine import Engine
from llmagentos.programs.parsing import parse_call
from llmagentos.records.calls import (
    Act,
    ActResult,
    CallTool,
    Classify,
    Generate,
    Now,
    Observation,
    Observe,
    Opinion,
    Random,
    Recall,
    Remember,
    Sleep,
    Spawn,
    SystemCall,
    ToolResult,
    Wait,
)
from llmagentos.records.generation import Completion, FinishReason, GenerationRequest
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall
from llmagentos.records.task import Task
from llmagentos.records.transcript import Segment, opened

OPENING_SECONDS = 300.0
"""An environment may load its data when it is made; this is for one that hangs."""
TOOL_GRACE_SECONDS = 5.0
"""A tool is stopped by the toolbox itself; beyond this its thread is given up."""
MAX_CHILDREN = 64
MAX_DEPTH = 8
"""Spawned programs may spawn; without limits one mistake fills the machine."""

Reply: TypeAlias = tuple[Any, BaseException | None]
"""What the program receives: a reply, or a fault raised in it."""


class Irreproducible(Exception):
    """A replay does not repeat what the journal says."""


@dataclass(frozen=True)
class Services:
    """Everything that calls are answered with."""

    journal: JournalStore
    engine: Engine | None
    environment: Callable[[Task], Env]
    toolbox: Tools | None
    permissions: PermissionRules
    recall: Callable[[str, int], Sequence[str]] | None
    remember: Callable[[str, str], str] | None
    """Statement and source to the identifier of the fact."""
    classify: Callable[[str, str], Opinion] | None
    """Text and digest of a classifier to what it thinks of it."""
    spawn: Callable[[Process, Spawn, str], None]
    """Starts a child under an identifier, unless it has been started before."""


ARGUMENTS = 0.3
"""Of its temperature, at which the model says the arguments of a call whose tool is given: a small one makes them up
at 1, and copies them from what was asked at this."""


class Answers:
    """One handler for each system call; thread-safe as long as one thread holds a process at a time."""

    def __init__(self, services: Services) -> None:
        """`services` are shared by all processes."""
        self._services = services
        self._handlers: Mapping[type, Callable[[Process, int, Any, RecordedCall | None], Reply | Pause]] = {
            Generate: self._generate,
            Observe: self._observe,
            Act: self._act,
            CallTool: self._call_tool,
            Recall: self._recall,
            Remember: self._remember,
            Classify: self._classify,
            Sleep: self._sleep,
            Now: self._now,
            Random: self._random,
            Spawn: self._spawn,
            Wait: self._wait,
        }

    def answer(self, process: Process, call: SystemCall[Any]) -> Reply | Pause:
        """Answer one call. Faults that the program should see are in the reply, journaled."""
        handler = self._handlers.get(type(call))
        if handler is None:
            known = ", ".join(kind.__name__ for kind in self._handlers)
            return None, KernelError(f"A program yielded a {type(call).__name__}, no system call. There are: {known}.")
        number = process.calls
        process.calls += 1
        recorded = process.replay.popleft() if process.replay else None
        if recorded is not None:
            process.journaled = number
            if not recorded.matches(call):
                raise self._irreproducible(
                    process, recorded, f"the program asked {type(call).__name__} with other content"
                )
            if recorded.result is not None:
                return self._repeat(process, call, recorded)
        try:
            return handler(process, number, call, recorded)
        except (Abandoned, Irreproducible):
            raise
        except Exception as problem:  # noqa: BLE001 (a fault of any service is raised in the program that asked)
            return self._fail(process, number, call, problem)

    def settle(self, process: Process) -> Reply:
        """The reply to the call that the process waited for, from its inbox."""
        assert process.pending is not None
        number, call = process.pending
        value, problem = process.inbox
        process.pending, process.inbox, process.awaited = None, (None, None), None
        if problem is not None:
            return self._fail(process, number, call, problem)
        if isinstance(call, Generate):
            return self._take_completion(process, number, call, value)
        if isinstance(call, Wait):
            try:
                return self._child_value(process, number, call)
            except KernelError as fault:
                return self._fail(process, number, call, fault)
        return self._reply(process, number, None)

    def rebuild(self, run: Run, recorded: RecordedCall) -> None:
        """Put a journaled call into the record of a run that cannot be replayed."""
        run.add_prompt(recorded.segments)
        if recorded.result is None or "error" in recorded.result:
            return
        if recorded.name == Observe.__name__:
            run.add_observation(recorded.reply)
        elif recorded.name == Act.__name__:
            run.add_step(action_text(recorded.body["call"]["action"]), recorded.reply)
        elif recorded.name == Generate.__name__:
            self._add_reply(run, recorded)
        elif recorded.name == CallTool.__name__:
            run.actions += 1

    # Replay.

    def _repeat(self, process: Process, call: SystemCall[Any], recorded: RecordedCall) -> Reply:
        """Give the journaled reply, once the environment has been brought to where it was."""
        fault = recorded.fault
        if isinstance(fault, BudgetExceeded):
            process.overrun = str(fault)
        if isinstance(fault, EnvironmentFault):
            process.broken = str(fault)
        if fault is None:
            if isinstance(call, Observe):
                self._repeat_observe(process, recorded)
            elif isinstance(call, Act):
                self._repeat_act(process, call, recorded)
            elif isinstance(call, Spawn):
                process.children += 1
        self.rebuild(process.run, recorded)
        return (None, fault) if fault is not None else (recorded.reply, None)

    def _repeat_observe(self, process: Process, recorded: RecordedCall) -> None:
        result = recorded.result or {}
        if result.get("replayable") is False:
            raise self._irreproducible(process, recorded, "its environment declares itself not replayable")
        try:
            _, seen = self._open(process)
        except EnvironmentFault as problem:
            raise self._irreproducible(process, recorded, str(problem)) from problem
        if seen.text != recorded.reply.text:
            raise self._irreproducible(process, recorded, "the environment's first observation is another one")

    def _repeat_act(self, process: Process, call: Act, recorded: RecordedCall) -> None:
        if (recorded.result or {}).get("denied"):
            return
        assert process.stage is not None
        then: ActResult = recorded.reply
        try:
            with process.foreign("The environment's step", process.info.limits.action_seconds):
                now = process.stage.act(plain(call.action))
        except EnvironmentFault as problem:
            raise self._irreproducible(process, recorded, str(problem)) from problem
        if (now.observation, now.terminated, now.truncated) != (then.observation, then.terminated, then.truncated):
            raise self._irreproducible(process, recorded, "the environment answered a journaled action differently")

    def _irreproducible(self, process: Process, recorded: RecordedCall, why: str) -> Irreproducible:
        process.replay.appendleft(recorded)
        return Irreproducible(f"The process cannot go on after the interruption: {why}.")

    # The model.

    def _generate(self, process: Process, number: int, call: Generate, recorded: RecordedCall | None) -> Reply | Pause:
        engine, run, info = self._services.engine, process.run, process.info
        if engine is None:
            raise KernelError("This system runs without a model, so that nothing can be generated.")
        left = info.limits.tokens - run.sampled
        if call.forced is None and left <= 0:
            raise self._overrun(process, f"The budget of {info.limits.tokens} sampled tokens is used up.")
        segments = engine.renderer.render(call.messages, first=not run.segments, reply=True, needs_end=run.needs_end)
        if recorded is not None:
            segments = recorded.segments or segments
        run.add_prompt(segments)
        run.tell(call.tools)
        sampling = call.sampling or info.sampling
        seed, grammar = derive_seed(sampling.seed, number), run.grammar(call)
        sampling = replace(sampling, seed=seed, max_tokens=min(sampling.max_tokens, left), grammar=grammar)
        if call.only:
            sampling = replace(sampling, temperature=ARGUMENTS * sampling.temperature)
        self._journal_call(process, number, call, segments=segments, seed=seed)
        if call.forced is not None:
            return self._force(process, number, engine, call.forced)
        emitter = None
        if process.emit is not None and call.abstain is None and call.opinion is None:
            emitter = process.emitter = TextEmitter(engine.renderer.decode, sampling.stop, process.emit)
        request = GenerationRequest(tuple(run.tokens), sampling, info.adapter, run.tools, opened(run.segments))
        future = engine.submit(request, emitter.push if emitter else None)
        process.pending, process.awaited = (number, call), future
        return Generating(future)

    def _force(self, process: Process, number: int, engine: Engine, text: str) -> Reply:
        prompt_tokens = len(process.run.tokens)
        segment = engine.renderer.force(text)
        completion = Completion(segment.tokens, text, None, "stop", prompt_tokens)
        reply = self._reply(process, number, completion)
        process.run.add_forced(segment)
        if process.emit is not None:
            TextEmitter(engine.renderer.decode, (), process.emit).finish(text)
        return reply

    def _take_completion(self, process: Process, number: int, call: Generate, completion: Completion) -> Reply:
        engine = self._services.engine
        assert engine is not None
        words, unsure = call.decided(completion)
        if unsure or call.only or words != completion.text:
            finish: FinishReason = "abstained" if unsure else "overruled"
            said = engine.renderer.force(words).tokens
            completion = replace(completion, tokens=said, text=words, logprobs=None, finish=finish)
        reply = self._reply(process, number, completion)
        self._add_said(process.run, call, completion)
        if process.emitter is not None:
            process.emitter.finish(completion.text)
            process.emitter = None
        elif process.emit is not None:
            TextEmitter(engine.renderer.decode, (), process.emit).finish(completion.text)
        return reply

    def _add_reply(self, run: Run, recorded: RecordedCall) -> None:
        call = msgspec.convert(recorded.body["call"], Generate)
        run.tell(call.tools)
        self._add_said(run, call, recorded.reply)

    def _add_said(self, run: Run, call: Generate, completion: Completion) -> None:
        if call.forced is not None or completion.finish in ("abstained", "overruled"):
            run.add_forced(Segment("demonstration", completion.tokens))
        else:
            engine = self._services.engine
            end = engine.renderer.end_of_turn if engine is not None else -1
            run.add_sampled(completion, end, run.grammar(call))

    # The environment.

    def _observe(self, process: Process, number: int, call: Observe, recorded: RecordedCall | None) -> Reply:
        if process.info.task is None:
            raise KernelError("This process has no task, so there is no environment to observe. Submit it with a task.")
        if process.stage is not None:
            raise KernelError("The environment was observed already; act on it instead.")
        self._journal_call(process, number, call)
        try:
            stage, seen = self._open(process)
        except EnvironmentFault as fault:
            process.broken = str(fault)
            raise
        process.run.add_observation(seen)
        return self._reply(process, number, seen, replayable=stage.replayable)

    def _open(self, process: Process) -> tuple[Stage, Observation]:
        assert process.info.task is not None
        with process.foreign("Making the environment", OPENING_SECONDS):
            stage = Stage(process.info.task, self._services.environment)
        process.stage = stage
        with process.foreign("The environment's reset", process.info.limits.action_seconds):
            return stage, stage.observe()

    def _act(self, process: Process, number: int, call: Act, recorded: RecordedCall | None) -> Reply:
        run, stage = process.run, process.stage
        if process.broken:
            raise EnvironmentFault(process.broken)
        if stage is None:
            raise KernelError("There is no environment to act on yet. Yield Observe() first.")
        if run.over:
            raise KernelError("The environment has ended the episode; no action is possible any more.")
        if run.actions >= process.info.limits.steps:
            raise self._overrun(process, f"The budget of {process.info.limits.steps} actions is used up.")
        action = plain(call.action)
        self._journal_call(process, number, replace(call, action=action))
        denied = self._denied(process, self._tool_call(stage, action, call.call))
        if denied:
            result = ActResult(denied, 0.0, False, False)
            reply = self._reply(process, number, result, denied=True)
        else:
            try:
                with process.foreign("The environment's step", process.info.limits.action_seconds):
                    result = stage.act(action)
            except EnvironmentFault as fault:
                process.broken = str(fault)
                raise
            reply = self._reply(process, number, result)
        run.add_step(action_text(action), result)
        return reply

    def _tool_call(self, stage: Stage, action: JSON, claimed: ToolCall | None) -> ToolCall | None:
        """The tool call that the environment will see in an action, whatever the program claims it to be."""
        if isinstance(action, str) and stage.tool_names:
            return parse_call(action, stage.tool_names).call
        return claimed

    def _denied(self, process: Process, call: ToolCall | None) -> str:
        """Why a call on the environment may not be made; empty when it may."""
        if call is None:
            return ""
        assert process.stage is not None
        declared = call.name in process.stage.tool_names
        info = process.info
        decision = self._services.permissions.decide(call, process=info.id, owner=info.owner, declared=declared)
        return "" if decision.allowed else f"PermissionDenied: {decision.reason}"

    # Tools and knowledge.

    def _call_tool(self, process: Process, number: int, call: CallTool, recorded: RecordedCall | None) -> Reply:
        info, toolbox = process.info, self._services.toolbox
        if process.run.actions >= info.limits.steps:
            raise self._overrun(process, f"The budget of {info.limits.steps} actions is used up.")
        process.run.actions += 1
        spec = toolbox.spec(call.call.name) if toolbox is not None else None
        if toolbox is None or spec is None:
            self._journal_call(process, number, call)
            return self._reply(process, number, ToolResult(None, f"No tool named {call.call.name!r}."))
        if recorded is not None and spec.effect and not toolbox.idempotent(spec.name):
            process.replay.appendleft(recorded)
            raise Irreproducible(
                f"The tool {spec.name!r} was being called when the system stopped and may have had its effect; "
                "it is not called again. Check what it did, then start the work anew."
            )
        decision = self._services.permissions.decide(call.call, process=info.id, owner=info.owner, declared=False)
        if not decision.allowed:
            self._journal_call(process, number, call)
            return self._reply(process, number, ToolResult(None, f"PermissionDenied: {decision.reason}"))
        self._journal_call(process, number, call, sync=spec.effect)
        seconds = info.limits.action_seconds
        with process.foreign(f"The tool {spec.name!r}", seconds + TOOL_GRACE_SECONDS):
            result = toolbox.call(call.call, key=f"{info.id}:{number}", seconds=seconds)
        return self._reply(process, number, result)

    def _recall(self, process: Process, number: int, call: Recall, recorded: RecordedCall | None) -> Reply:
        recall = self._services.recall
        if recall is None:
            raise KernelError("This system runs without a knowledge base, so that nothing can be recalled.")
        self._journal_call(process, number, call)
        with process.foreign("Recalling", process.info.limits.action_seconds):
            found = tuple(recall(call.query, call.limit))
        return self._reply(process, number, found)

    def _remember(self, process: Process, number: int, call: Remember, recorded: RecordedCall | None) -> Reply:
        remember = self._services.remember
        if remember is None:
            raise KernelError("This system runs without a knowledge base, so that nothing can be remembered.")
        self._journal_call(process, number, call)
        with process.foreign("Remembering", process.info.limits.action_seconds):
            fact = remember(call.statement, f"process:{process.info.id}")
        return self._reply(process, number, fact)

    def _classify(self, process: Process, number: int, call: Classify, recorded: RecordedCall | None) -> Reply:
        classify = self._services.classify
        if classify is None:
            raise KernelError("This system runs without classifiers, so that nothing can be classified.")
        self._journal_call(process, number, call)
        with process.foreign("Classifying", OPENING_SECONDS):
            found = classify(call.text, call.classifier)
        return self._reply(process, number, found)

    # Time, chance and children.

    def _sleep(self, process: Process, number: int, call: Sleep, recorded: RecordedCall | None) -> Pause:
        until = recorded.body["until"] if recorded is not None else time.time() + max(0.0, call.seconds)
        self._journal_call(process, number, call, until=until)
        process.pending = (number, call)
        return Sleeping(until)

    def _now(self, process: Process, number: int, call: Now, recorded: RecordedCall | None) -> Reply:
        self._journal_call(process, number, call)
        return self._reply(process, number, time.time())

    def _random(self, process: Process, number: int, call: Random, recorded: RecordedCall | None) -> Reply:
        self._journal_call(process, number, call)
        return self._reply(process, number, derive_seed(process.info.sampling.seed, number) / 2**63)

    def _spawn(self, process: Process, number: int, call: Spawn, recorded: RecordedCall | None) -> Reply:
        child = f"{process.info.id}.{number}"
        if process.children >= MAX_CHILDREN or child.count(".") > MAX_DEPTH:
            raise self._overrun(process, f"At most {MAX_CHILDREN} children and {MAX_DEPTH} generations can be spawned.")
        process.children += 1
        self._journal_call(process, number, call)
        self._services.spawn(process, call, child)
        return self._reply(process, number, child)

    def _wait(self, process: Process, number: int, call: Wait, recorded: RecordedCall | None) -> Pause:
        if not call.process.startswith(process.info.id + "."):
            raise KernelError(
                f"{call.process!r} is no child of process {process.info.id}. Wait for what Spawn returned."
            )
        self._journal_call(process, number, call)
        process.pending = (number, call)
        return Waiting(call.process)

    def _child_value(self, process: Process, number: int, call: Wait) -> Reply:
        entries = self._services.journal.entries(call.process)
        ends = [entry.body for entry in entries if entry.kind == "end"]
        if not ends:
            raise KernelError(f"Process {call.process} did not come to an end.")
        if ends[-1]["outcome"] != "finished":
            raise KernelError(f"Process {call.process} ended as {ends[-1]['outcome']}: {ends[-1]['error']}")
        return self._reply(process, number, ends[-1]["value"])

    # The journal.

    def _journal_call(
        self, process: Process, number: int, call: SystemCall[Any], *, sync: bool = False, **more: Any
    ) -> None:
        if process.journaled < number:
            self._services.journal.append(process.info.id, "call", call_body(number, call, **more), sync=sync)
            process.journaled = number

    def _reply(self, process: Process, number: int, reply: Any, **more: Any) -> Reply:
        self._services.journal.append(process.info.id, "result", reply_body(number, reply, **more))
        return reply, None

    def _fail(self, process: Process, number: int, call: SystemCall[Any], problem: BaseException) -> Reply:
        """Journal a fault and hand it to the program, as an error of ours."""
        fault = problem
        if not isinstance(fault, LLMAgentOSError):
            name = type(call).__name__
            fault = KernelError(f"{name} failed: {type(problem).__name__}: {problem}".rstrip(": "))
            fault.__cause__ = problem
        try:
            self._journal_call(process, number, call)
        except TypeError:  # the very fault may be that the call is not JSON
            body = {"n": number, "name": type(call).__name__, "call": describe_call(call)}
            self._services.journal.append(process.info.id, "call", body)
            process.journaled = number
        self._services.journal.append(process.info.id, "result", fault_body(number, fault))
        return None, fault

    def _overrun(self, process: Process, said: str) -> BudgetExceeded:
        """The program hears of it once and may wind up; asking again ends it."""
        if process.overrun:
            process.interrupt("truncated", said)
        process.overrun = said
        return BudgetExceeded(said)


def derive_seed(seed: int, number: int) -> int:
    """A seed of 63 bits for call `number` of a process, independent of every other's and the same in a replay."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def action_text(action: JSON) -> str:
    """An action as the episode's steps record it."""
    if isinstance(action, str):
        return action
    return msgspec.json.encode(action).decode()
