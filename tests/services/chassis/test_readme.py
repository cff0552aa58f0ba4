from pathlib import Path

from contracts.topology import CONSUMERS

README = Path(__file__).parents[3] / "services" / "chassis" / "README.md"


def test_the_delivery_table_is_that_of_the_topology() -> None:
    rows = [
        line
        for line in README.read_text().splitlines()
        if line.startswith(tuple(f"| `{c.durable}`" for c in CONSUMERS))
    ]
    assert rows == [
        f"| `{row.durable}` | {row.ack_wait_s:g} s | {row.ack_wait_s / 5:g} s "
        f"| {', '.join(f'{pause:g}' for pause in row.pauses_s)} s | {len(row.pauses_s) + 1} | {row.at_once} |"
        for row in CONSUMERS
    ]
