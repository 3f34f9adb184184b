"""Numbers as they are set in print: 1.2e-06 is 1.2·10⁻⁶, and a minus is one."""

import re

_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def typeset(text: str) -> str:
    """Return a number that Python wrote, set as in print."""
    if found := re.fullmatch(r"([+-]?)([\d.]+)e([+-]\d+)(.*)", text):
        sign, digits, power, rest = found.groups()
        if int(power) == 0:
            return f"{sign}{digits}{rest}".replace("-", "−")
        digits = "" if digits == "1" else f"{digits}·"
        text = f"{sign}{digits}10{str(int(power)).translate(_RAISED)}{rest}"
    return text.replace("-", "−")
