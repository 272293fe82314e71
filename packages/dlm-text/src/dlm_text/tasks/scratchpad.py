"""Addition and subtraction written out digit by digit.

    47+28: 7+8+0=5c1 4+2+1=7c0 =75
    75-36: 5-6-0=9b1 7-3-1=3b0 =39

Columns run from the lowest digit up. Each names its two digits, the carry (or borrow) that came in, the digit that is
written down and the carry (or borrow) that goes out. All numbers of a line have the same number of digits, so that
every column is as long as every other.
"""

__all__ = ["column", "worked", "worked_step"]


def column(a: int, b: int, sign: str, incoming: int) -> tuple[str, int, int]:
    """One column of a written addition or subtraction.

    Args:
        a: upper digit, 0 to 9.
        b: lower digit, 0 to 9.
        sign: ``"+"`` or ``"-"``.
        incoming: carry or borrow from the column to the right, 0 or 1.

    Returns:
        The text, the digit that is written down, and the carry or borrow that goes out.
    """
    if sign == "+":
        outgoing, digit = divmod(a + b + incoming, 10)
        flag = "c"
    else:
        borrowed, digit = divmod(a - b - incoming, 10)
        outgoing, flag = -borrowed, "b"
    return f"{a}{sign}{b}{sign}{incoming}={digit}{flag}{outgoing}", digit, outgoing


def worked_step(a: int, b: int, sign: str, digits: int) -> tuple[str, int]:
    """One operation written out, and its result.

    Args:
        a: left operand, 0 <= a < 10**digits.
        b: right operand, 0 <= b < 10**digits.
        sign: ``"+"`` or ``"-"``.
        digits: number of columns.

    Returns:
        The text and the result.

    Raises:
        ValueError: the result is negative or needs more than ``digits`` digits; generators never draw such a problem.
    """
    columns, result, flag = [], 0, 0
    for place in range(digits):
        text, digit, flag = column(a // 10**place % 10, b // 10**place % 10, sign, flag)
        columns.append(text)
        result += digit * 10**place
    if flag:
        raise ValueError(f"{a}{sign}{b} does not fit {digits} digits")
    return f"{a:0{digits}}{sign}{b:0{digits}}: {' '.join(columns)} ={result:0{digits}}", result


def worked(start: int, steps: list[tuple[str, int]], digits: int) -> tuple[str, int]:
    """A chain of operations, each starting from the result of the one before.

    Args:
        start: the first operand.
        steps: pairs of sign and right operand.
        digits: number of columns of every operation.

    Returns:
        The operations joined by ``"; "``, and the final result.
    """
    lines, value = [], start
    for sign, operand in steps:
        line, value = worked_step(value, operand, sign, digits)
        lines.append(line)
    return "; ".join(lines), value
