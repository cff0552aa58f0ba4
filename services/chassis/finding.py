"""What a check found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`fault` is "" where all is well; otherwise it says what is wrong, and `do` what to do about it."""

    what: str
    fault: str = ""
    do: str = ""
