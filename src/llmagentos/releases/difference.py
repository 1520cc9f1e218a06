"""What changes between two releases, in sentences.

In: two releases. Out: lines for a person. It does not know the store.
"""

from __future__ import annotations

from llmagentos.records.release import Artefact, Release


def describe_difference(first: Release, second: Release) -> list[str]:
    """One line for each thing that `second` has otherwise than `first`."""
    old, new = first.manifest, second.manifest
    lines = []
    if old.base != new.base:
        lines.append(f"base: {old.base} -> {new.base}")
    before, after = ({artefact.name: artefact for artefact in manifest.artefacts} for manifest in (old, new))
    lines += [f"- {_show(before[name])}" for name in before if name not in after]
    lines += [f"+ {_show(after[name])}" for name in after if name not in before]
    lines += [
        f"~ {_show(before[name])} -> {_show(after[name])}"
        for name in before
        if name in after and before[name] != after[name]
    ]
    for name in sorted({*old.settings, *new.settings}):
        if old.settings.get(name) != new.settings.get(name):
            lines.append(f"setting {name}: {old.settings.get(name)!r} -> {new.settings.get(name)!r}")
    if old.knowledge_time != new.knowledge_time:
        lines.append(f"knowledge: {old.knowledge_time or 'now'} -> {new.knowledge_time or 'now'}")
    lines += [f"skill lost: {skill}" for skill in first.skills if skill not in second.skills]
    lines += [f"skill gained: {skill}" for skill in second.skills if skill not in first.skills]
    return lines


def _show(artefact: Artefact) -> str:
    skill = f" for {artefact.skill}" if artefact.skill else ""
    return f"{artefact.kind} {artefact.name}{skill} ({artefact.digest[:12]})"
