"""The rules of a profile for people to read."""

from __future__ import annotations

from .profile import Profile, Rule


def table(profile: Profile) -> str:
    """A Markdown table: each rule, whether it must be kept, where it was read and when."""
    head = ["| rule | must | read | note |", "|---|---|---|---|"]
    return "\n".join([f"### {profile.title}", "", *head, *(_row(rule) for rule in profile.rules)])


def _row(rule: Rule) -> str:
    read = f"[{rule.date}]({rule.source})" if rule.source else rule.date
    return f"| {rule.text()} | {'yes' if rule.must else 'no, a warning'} | {read} | {rule.note} |"
