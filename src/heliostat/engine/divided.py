"""Several workers on CPUs in fp32: ZeRO 0, 1 and 2 (Rajbhandari et al., 2020) by torch's own collectives, behind the same few methods.

The parameters of a group lie end to end and are cut into buckets. As soon as backward has the gradients of a bucket, the workers add
them up while it goes on: whole (ZeRO 0), or each worker its shard of them (ZeRO 1 and 2). A worker then makes the update of its shards
alone, and sends what they have become to the others. ZeRO 2 adds up after every pass and keeps no other gradients; ZeRO 0 and 1 do so
after the last one.

Shards go from worker to worker as they are: gloo's reduce-scatter adds up everything and its all-gather copies, which takes twice as
long. They are added in the order of the workers, so the same workers give the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from heliostat.engine.plain import PlainEngine, norm

BUCKET, ON_THEIR_WAY = 4_000_000, 4
"""Elements that are added up at once, and how many times so many are on their way, in 128 MB at most: workers need not be equally far."""


@dataclass(frozen=True)
class Part:
    """Elements `start` to `stop` of a flattened parameter, which lie in a bucket, or in a shard of it, from `at` on."""

    parameter: Any
    start: int
    stop: int
    at: int

    @property
    def size(self) -> int:
        """Elements."""
        return self.stop - self.start

    def inside(self, begin: int, end: int) -> Part | None:
        """What of it lies between two places, the first of which becomes 0."""
        low, high = max(self.at, begin), min(self.at + self.size, end)
        start = self.start + low - self.at
        return Part(self.parameter, start, start + high - low, low - begin) if low < high else None


class Bucket:
    """Neighbouring elements of a parameter group, in W shards of S elements each."""

    def __init__(self, parts: Sequence[Part], values: Any, rank: int, world: int):
        import torch

        self.parts, self.rank = parts, rank
        self.values_WS = values.view(world, -1)
        """The parameters' own memory; what no parameter fills is zeros."""
        self.shard = torch.nn.Parameter(self.values_WS[rank])
        """[S]: what this worker's optimiser steps on."""

    def mine(self) -> Iterator[Part]:
        """What lies in this worker's shard."""
        size = self.values_WS.shape[1]
        found = (part.inside(self.rank * size, (self.rank + 1) * size) for part in self.parts)
        return (part for part in found if part)

    def spread(self) -> list[Any]:
        """Begin to send this worker's shard to all others, and to receive theirs in its place."""
        return exchange(self.values_WS[self.rank].expand_as(self.values_WS), self.values_WS, self.rank)


def laid_out(parameters: Sequence[Any], rank: int, world: int) -> list[Bucket]:
    """Move parameters to where they lie end to end, and cut that into buckets."""
    import torch

    ends = list(accumulate(p.numel() for p in parameters))
    values = torch.zeros(-(-ends[-1] // world) * world)
    parts = []
    with torch.no_grad():
        for p, end in zip(parameters, ends, strict=True):
            begin = end - p.numel()
            parts.append(Part(p, 0, p.numel(), begin))
            p.data = values[begin:end].view(p.shape).copy_(p)
    size = max(BUCKET // world, 1) * world
    buckets = []
    for begin in range(0, len(values), size):
        found = (part.inside(begin, begin + size) for part in parts)
        buckets.append(Bucket([part for part in found if part], values[begin : begin + size], rank, world))
    return buckets


class Passage(ABC):
    """Room for the gradients of one bucket on their way."""

    def __init__(self, elements: int):
        import torch

        self.sent = torch.zeros(elements)
        self._bucket: Bucket | None = None
        self._works: list[Any] = []

    def send(self, bucket: Bucket) -> None:
        """Begin to add up the gradients of a bucket, once the one before has arrived."""
        self.receive()
        for part in bucket.parts:
            self.sent[part.at : part.at + part.size] = part.parameter.grad.reshape(-1)[part.start : part.stop]
        self.sent[part.at + part.size : bucket.values_WS.numel()] = 0.0
        self._bucket, self._works = bucket, self._begin(bucket, self._at_place(self.sent, bucket))

    def receive(self) -> None:
        """Wait for what was sent, and put the sums where they belong."""
        if self._bucket is not None:
            for work in self._works:
                work.wait()
            self._end(self._bucket)
            self._bucket = None

    @staticmethod
    def _at_place(room: Any, bucket: Bucket) -> Any:
        """[W, S] at the beginning of `room`."""
        return room[: bucket.values_WS.numel()].view_as(bucket.values_WS)

    @abstractmethod
    def _begin(self, bucket: Bucket, sent_WS: Any) -> list[Any]:
        """Begin to add up what was sent; what is to be waited for."""

    @abstractmethod
    def _end(self, bucket: Bucket) -> None:
        """Put the sums where they belong."""


class Whole(Passage):
    """Every worker gets the sum of all of it, in the gradients themselves."""

    def _begin(self, bucket: Bucket, sent_WS: Any) -> list[Any]:
        import torch.distributed as dist

        return [dist.all_reduce(sent_WS, async_op=True)]

    def _end(self, bucket: Bucket) -> None:
        for part in bucket.parts:
            part.parameter.grad.view(-1)[part.start : part.stop] = self.sent[part.at : part.at + part.size]


class Shared(Passage):
    """Every worker gets the sum of its shard, and lets go of the gradients."""

    def __init__(self, elements: int):
        super().__init__(elements)
        self.got = self.sent.clone()

    def _begin(self, bucket: Bucket, sent_WS: Any) -> list[Any]:
        for part in bucket.parts:
            if part.stop == part.parameter.numel():
                part.parameter.grad = None
        return exchange(sent_WS, self._at_place(self.got, bucket), bucket.rank)

    def _end(self, bucket: Bucket) -> None:
        sent_WS, got_WS = self._at_place(self.sent, bucket), self._at_place(self.got, bucket)
        first_S, second_S, *others = (got_S if rank != bucket.rank else sent_WS[rank] for rank, got_S in enumerate(got_WS))
        total_S = first_S + second_S
        for other_S in others:
            total_S += other_S
        bucket.shard.grad = total_S if bucket.shard.grad is None else bucket.shard.grad.add_(total_S)


def exchange(sent_WS: Any, got_WS: Any, rank: int) -> list[Any]:
    """Begin to send every other worker its row, and to receive those it sends."""
    import torch.distributed as dist

    others = [other for other in range(len(sent_WS)) if other != rank]
    return [dist.irecv(got_WS[other], other) for other in others] + [dist.isend(sent_WS[other], other) for other in others]


class DividedEngine(PlainEngine):
    """`PlainEngine` for one of several workers, each of which sees its own rows of a batch; the process group must exist."""

    def __init__(self, module: Any, optimizer: Any, *, stage: int, accumulation: int, clip: float | None):
        import torch.distributed as dist

        super().__init__(module, optimizer, accumulation=accumulation, clip=clip)
        self.stage, self._world = stage, dist.get_world_size()
        forward = {id(p): place for place, p in enumerate(module.parameters())}
        groups = [laid_out(group["params"][::-1], dist.get_rank(), self._world) for group in optimizer.param_groups]
        every = [bucket for group in groups for bucket in group]
        self.buckets = sorted(every, key=lambda bucket: -min(forward[id(part.parameter)] for part in bucket.parts))
        """In the order in which backward has done with them."""
        for bucket in self.buckets:
            dist.broadcast(bucket.values_WS, 0)
        room = max(bucket.values_WS.numel() for bucket in self.buckets)
        self._passages = [(Shared if stage else Whole)(room) for _ in range(ON_THEIR_WAY)]
        self._awaited: dict[int, set[int]] = {}
        """Place of a bucket that was not sent in this pass to its parameters without a gradient."""
        self._hooks = [p.register_post_accumulate_grad_hook(self._arrived) for p in self._trained]
        if stage:
            for group, buckets in zip(optimizer.param_groups, groups, strict=True):
                group["params"] = [bucket.shard for bucket in buckets]
            self._trained = [bucket.shard for bucket in every]

    def backward(self, loss: Any) -> None:
        """Add the gradient of one forward pass, and add up what the workers have where it is time to."""
        import torch

        if self.stage == 2 or (self._passes + 1) % self.accumulation == 0:
            self._awaited = {at: {id(part.parameter) for part in bucket.parts} for at, bucket in enumerate(self.buckets)}
        super().backward(loss / self._world)
        for at in list(self._awaited):  # parameters that this pass did not use
            for part in self.buckets[at].parts:
                if part.parameter.grad is None:
                    part.parameter.grad = torch.zeros_like(part.parameter)
            self._awaited[at] = set()
        self._send()
        for passage in self._passages:
            passage.receive()

    def _arrived(self, parameter: Any) -> None:
        """The gradient of a parameter is there."""
        for missing in self._awaited.values():
            missing.discard(id(parameter))
        self._send()

    def _send(self) -> None:
        """Send the buckets whose gradients are there, in the same order on every worker."""
        while self._awaited and not self._awaited[at := next(iter(self._awaited))]:
            del self._awaited[at]
            self._passages[at % ON_THEIR_WAY].send(self.buckets[at])

    def _clip(self, most: float) -> None:
        import torch
        import torch.distributed as dist

        if not self.stage:
            return super()._clip(most)
        square = norm([shard.grad for shard in self._trained]).square()
        dist.all_reduce(square)
        return torch.nn.utils.clip_grads_with_norm_(self._trained, most, square.sqrt(), foreach=True)

    def _update(self) -> None:
        super()._update()
        if self.stage:
            for work in [work for bucket in self.buckets for work in bucket.spread()]:
                work.wait()

    def destroy(self) -> None:
        """Let go of weights and optimiser state."""
        for hook in self._hooks:
            hook.remove()
        self.buckets, self._passages = [], []
        super().destroy()
