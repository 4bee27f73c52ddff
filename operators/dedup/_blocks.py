"""Greedy grouping of more rows than fit in one place: best first, each row against the keepers before it.

Sorted rows are cut into blocks. A block is settled within itself; its keepers then take their duplicates out of every
later block, all blocks at once; then comes the next block. So the result is that of one long list, and no worker holds
more than two blocks. Blocks that have nothing to do with each other (clusters) are settled at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..frames import Bag, Exchange, Frames, Function


def settle_in_blocks(blocks: Frames, settle: Function, match: Function, continues: Sequence[bool]) -> Frames:
    """`settle(block)` decides its open rows; `match(block, earlier)` those that are duplicates of an earlier keeper.

    `continues[i]`: block i goes on with what block i - 1 held. Both functions give the whole block back.
    """
    exchange, bags = blocks.exchange, list(blocks.bags)
    head = [0] * len(bags)
    for i in range(1, len(bags)):
        head[i] = head[i - 1] if continues[i] else i
    for wave in range(1 + max((i - first for i, first in enumerate(head)), default=-1)):
        turn = [i for i, first in enumerate(head) if i - first == wave]
        settled = exchange.run(settle, [(bags[i],) for i in turn])
        _replace(exchange, bags, turn, settled)
        later = [(i, head[i] + wave) for i, first in enumerate(head) if i - first > wave]
        found = exchange.run(match, [(bags[i], bags[earlier]) for i, earlier in later])
        _replace(exchange, bags, [i for i, _ in later], found)
    return Frames(exchange, bags)


def _replace(exchange: Exchange, bags: list[Bag], places: Sequence[int], found: Sequence[Bag]) -> None:
    """Put what was found in place of the blocks it was made of, which are done with: every wave writes blocks anew."""
    exchange.discard(bags[i] for i in places)
    for i, pieces in zip(places, found, strict=True):
        bags[i] = pieces
