"""On which side of each ReLU kink a neuron is, and where it slides along one.

Off the kinks <w_j, x_i> = 0 the gradient flow of a ReLU network is smooth; across one its field
jumps. Where the field on both sides points at the kink, the flow stays on it: Filippov's solution,
whose velocity is the element of least norm of Clarke's subdifferential. So each neuron has a mode
for each kink (one side, the other, or sliding), the field of frozen modes is smooth, and a mode
changes only at an event:

- a neuron comes to a kink: it slides if the least-norm element says so, and crosses otherwise;
- the share alpha in [0, 1] of the jump that a slide needs leaves [0, 1]: the neuron leaves the
  kink to the side of 0 (where a sample on the positive side is off) or of 1.

With v and dL/df frozen, as they are at an instant, -grad_w R of one neuron is piecewise linear and
the modes of its kinks are found by the pivots of a linear complementarity problem: one violated
condition at a time, the first, and from one side to the other by way of the slide. Where the jumps
pull the neuron back (kappa < 0) and the lines are independent the problem is strictly convex: it
has one solution, and the pivots come to it. Where neither holds nothing is proved, and a guard
counts the pivots.

Samples on one line through the origin switch together, and share a kink.

References
----------
Filippov, Differential equations with discontinuous righthand sides, 1988. Murty, Note on a
Bard-type scheme for solving the complementarity problem, Opsearch 11, 1974.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ncbook.models.shallow_relu import ShallowReLU

WINDOW = 0.1  # a neuron has come to a kink when it is past it by at most this, times rtol, relative
SHARE_WINDOW = 1e-4  # the same for the share of a slide; past by d costs an error of d^2
PIVOTS = 200  # at one instant; more mean that no solution is found


class Here(NamedTuple):
    """What is known at the states of R runs."""

    slope: Tensor  # (R, P): grad R, across the slides' kinks projected out
    R: Tensor  # (R,)
    pull: Tensor  # (R, n, h): <-dL/df_i / L, v_j>


class Few:
    """Places of ``(R, n, h)`` by their indices, ``(p,)`` each."""

    def __init__(self, run: Tensor, line: Tensor | None, neuron: Tensor) -> None:
        self.run, self.line, self.neuron = run, line, neuron

    def __len__(self) -> int:
        return len(self.run)

    def each(self, x: Tensor) -> Tensor:
        """Return what ``(R, n, h)`` has there."""
        return x[self.run, self.line, self.neuron]

    def of_neurons(self, x: Tensor) -> Tensor:
        """Return what ``(R, h)`` has there."""
        return x[self.run, self.neuron]

    def of_runs(self, x: Tensor) -> Tensor:
        """Return what ``(R,)`` has there."""
        return x[self.run]

    def columns(self, x: Tensor) -> Tensor:
        """Return the columns of ``(R, n, h)``, n numbers a place."""
        return x[self.run, :, self.neuron]

    def least(self, most: Tensor, values: Tensor) -> Tensor:
        """Return the least of each run, or ``most``, ``(R,)``."""
        return most.scatter_reduce(0, self.run, values, "amin")

    def mask(self, values: Tensor, like: Tensor) -> Tensor:
        """Return a mask of ``(R, n, h)`` with these values there."""
        mask = torch.zeros_like(like)
        mask[self.run, self.line, self.neuron] = values
        return mask


class All:
    """All places of ``(R, n, h)``, of which those count that a mask lets through.

    It has the methods of Few, whose results broadcast to ``(R, n, h)``.
    """

    def __init__(self, which: Tensor) -> None:
        self.which = which

    def __len__(self) -> int:
        return 1  # the host does not know how many, and must not ask

    def each(self, x: Tensor) -> Tensor:
        """Return it itself."""
        return x

    def of_neurons(self, x: Tensor) -> Tensor:
        """Return ``(R, h)`` by place."""
        return x.unsqueeze(-2)

    def of_runs(self, x: Tensor) -> Tensor:
        """Return ``(R,)`` by place."""
        return x[:, None, None]

    def columns(self, x: Tensor) -> Tensor:
        """Return the columns of ``(R, n, h)``, as the last dimension."""
        return x.mT.unsqueeze(-3)

    def least(self, most: Tensor, values: Tensor) -> Tensor:
        """Return the least of each run that counts, or ``most``, ``(R,)``."""
        values = torch.where(self.which, values, torch.inf)
        return most.minimum(values.amin((-2, -1)))

    def mask(self, values: Tensor, like: Tensor) -> Tensor:
        """Return a mask of ``(R, n, h)`` with the values that count."""
        return values & self.which


def places(which: Tensor) -> Few | All:
    """Return where a mask of ``(R, n, h)`` is true.

    On the CPU that is few places. How many they are, a device would have to tell the host, which
    costs more than to compute them all.
    """
    return Few(*which.nonzero(as_tuple=True)) if which.is_cpu else All(which)


class Kinks:
    """The modes of a batch of R runs with h neurons on n samples.

    Parameters
    ----------
    model : ShallowReLU
        The network on the data of the R runs.
    theta : Tensor
        ``(R, P)``; it decides the sides. A neuron on a kink is taken to be on the side -1 of it.
    rtol : float
        The tolerance of the integration, to which kinks are located.
    """

    def __init__(self, model: ShallowReLU, theta: Tensor, rtol: float) -> None:
        self.model, self.eps = model, torch.finfo(theta.dtype).eps
        self.window = max(WINDOW * rtol, 8 * self.eps)
        X = model.X if model.X.ndim == 3 else model.X.unsqueeze(0)
        # With a first dimension of R, or of 1 where all runs share the data.
        self.norms = X.norm(dim=-1, keepdim=True)
        self.U = X / self.norms.clamp_min(torch.finfo(X.dtype).tiny)
        same, opposite = (
            torch.cdist(self.U, V, compute_mode="donot_use_mm_for_euclid_dist") <= 16 * self.eps
            for V in (self.U, -self.U)
        )
        self.together = (same | opposite).to(X.dtype)
        line = self.together.argmax(-1, keepdim=True)  # the first sample of each one's line
        self.line, self.sign = line, torch.where(same.gather(-1, line), 1.0, -1.0).to(X.dtype)
        order = torch.arange(X.shape[-2], device=X.device).unsqueeze(-1)
        self.first = (line == order) & (self.norms > 0)
        self.alone = bool((self.first | (self.norms == 0)).all())
        R, n, h = len(theta), X.shape[-2], model.width
        W, _ = model.unpack(theta)
        self.side = torch.where(self.U @ W > 0, 1.0, -1.0).to(X.dtype)  # -1 on a slide
        self.watch = self.first.expand(R, n, h).clone()  # whether an event is a kink come to
        self.active = self._active()
        # The m neurons that slide, and of each: its lines (-1: none), an orthonormal basis, and
        # what turns coordinates in it into multipliers of the lines' unit vectors.
        self.run, self.neuron = line.new_zeros(2, 0).unbind()
        self.lines = line.new_zeros(0, 1)
        self.basis, self.inverse = X.new_zeros(0, X.shape[-1], 1), X.new_zeros(0, 1, 1)

    def select(self, rows: Tensor) -> "Kinks":
        """Return the modes of some runs, in another object."""
        chosen = object.__new__(Kinks)
        chosen.__dict__.update(self.__dict__)
        if self.model.X.ndim == 3:
            chosen.model = self.model.for_runs((len(self.side),), rows)
            for name in ("norms", "U", "together", "line", "sign", "first"):
                setattr(chosen, name, getattr(self, name)[rows])
        for name in ("side", "watch", "active"):
            setattr(chosen, name, getattr(self, name)[rows])
        if len(self.run):
            place = rows.new_full((len(self.side),), -1).index_copy(
                0, rows, torch.arange(len(rows), device=rows.device)
            )[self.run]
            chosen.run = place
            chosen._keep(place >= 0)
        return chosen

    def _keep(self, which: Tensor) -> None:
        """Forget the other sliding neurons."""
        these = which.nonzero().squeeze(-1)  # the host waits for it once
        for name in ("run", "neuron", "lines", "basis", "inverse"):
            setattr(self, name, getattr(self, name)[these])

    def _active(self) -> Tensor:
        """Return which neurons are active on which samples, ``(R, n, h)``, as numbers."""
        if self.alone:
            return (self.side > 0).to(self.side.dtype)
        line = self.line.expand(len(self.side), -1, self.side.shape[-1])
        return (self.side.gather(-2, line) * self.sign > 0).to(self.side.dtype)

    def _slide(self, run: Tensor, neuron: Tensor) -> None:
        """Renew what is known of the slides of these neurons, ``(p,)`` each."""
        if len(self.run):
            self._keep(~torch.isin(self._names(self.run, self.neuron), self._names(run, neuron)))
        first = self.first.expand(len(self.side), -1, -1)[run, :, 0]
        slide = first & ~self.watch[run, :, neuron]
        some = slide.any(-1).nonzero().squeeze(-1)
        run, neuron, slide = run[some], neuron[some], slide[some]
        if not len(run):
            return
        count = slide.sum(-1)
        s = max(int(count.max()), self.lines.shape[-1])
        order = slide.to(torch.uint8).argsort(stable=True, dim=-1, descending=True)[:, :s]
        there = torch.arange(s, device=run.device) < count.unsqueeze(-1)
        vectors = self.U.expand(len(self.side), -1, -1)[run.unsqueeze(-1), order]
        basis, R = torch.linalg.qr((vectors * there.unsqueeze(-1)).mT)
        R = R + torch.diag_embed((~there).to(R.dtype))
        eye = torch.eye(s, dtype=R.dtype, device=R.device)
        pad, more = torch.nn.functional.pad, s - self.lines.shape[-1]
        self.run, self.neuron = torch.cat([self.run, run]), torch.cat([self.neuron, neuron])
        lines = pad(self.lines, (0, more), value=-1)
        self.lines = torch.cat([lines, torch.where(there, order, -1)])
        self.basis = torch.cat([pad(self.basis, (0, more)), basis * there.unsqueeze(-2)])
        inverse = torch.linalg.solve_triangular(R, eye, upper=True)
        self.inverse = torch.cat([pad(self.inverse, (0, more, 0, more)), inverse])

    # --- The field of frozen modes --------------------------------------------------------------

    def here(self, theta: Tensor) -> Here:
        """Return the field at ``theta``, ``(R, P)``, and what goes with it."""
        log_L, dW, dV, pull = self.model.gated_field(theta, self.active)
        if len(self.run):
            across = dW[self.run, :, self.neuron].unsqueeze(-1)
            along = across - self.basis @ (self.basis.mT @ across)
            dW[self.run, :, self.neuron] = along.squeeze(-1)
        return Here(self.model.pack(dW, dV), -log_L, pull)

    def resting(self, theta: Tensor) -> Tensor:
        """Return states whose sliding neurons are silent on the samples that they slide along.

        The sign of a product that is zero would be rounding; ReLU'(0) = 0 says that it is off. They
        are moved off the kinks by 4 eps of their norms.
        """
        if not len(self.run):
            return theta
        W, V = self.model.unpack(theta)
        w = W[self.run, :, self.neuron].unsqueeze(-1)
        off = 4 * self.eps * w.norm(dim=-2, keepdim=True) * (self.lines >= 0).unsqueeze(-1)
        W = W.clone()
        across = self.basis.mT @ w + self.inverse.mT @ off
        W[self.run, :, self.neuron] = (w - self.basis @ across).squeeze(-1)
        return self.model.pack(W, V)

    # --- Events ---------------------------------------------------------------------------------

    def past(self, theta: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        """Return how far on its own side of each kink a neuron is, and the rate of that.

        Both ``(R, n, h)``; what is not watched is infinitely far.
        """
        W, dW = self.model.unpack(theta)[0], self.model.unpack(here.slope)[0]
        near, rate = (self.U @ torch.cat([W, dW], dim=-1)).chunk(2, dim=-1)
        return torch.where(self.watch, self.side * near, torch.inf), self.side * rate

    def ahead(self, past: tuple, before: tuple, h: Tensor, size: Tensor) -> Tensor:
        """Return the time to the next kink come to within ``h``, by a parabola, ``(R,)``.

        Parameters
        ----------
        past, before : tuple
            What ``past`` returned here, and the rate at the start of the last step and its length.
        h : Tensor
            The longest time of interest, ``(R,)``.
        size : Tensor
            Norms of the neuron pairs, ``(R, h)``.
        """
        time = torch.full_like(h, torch.inf)
        near = torch.addcmul(past[0], h[:, None, None], past[1]) <= 0
        if len(at := places(near)):
            g, rate = map(at.each, past)
            bend = (rate - at.each(before[0])) / at.of_runs(before[1])
            g = g + self.window / 2 * at.of_neurons(size)
            # NaN where the parabola does not come to zero.
            found = 2 * g / ((rate.square() - 2 * bend * g).sqrt() - rate)
            time = at.least(time, torch.where(found > 0, found, torch.inf))
        return time

    def _slack(self, here: Here) -> tuple[Tensor, Tensor]:
        """Return how far alpha is from 0 and from 1 on each slide, times the jump, ``(m, s, 2)``.

        Infinite where there is no slide; and the jump ``|kappa|``, ``(m, s, 1)``.
        """
        pull = here.pull[self.run, :, self.neuron]
        X = (self.U * self.norms).expand(len(self.side), -1, -1)[self.run]
        force = (pull * self.active[self.run, :, self.neuron]).unsqueeze(-2) @ X
        multiplier = (self.inverse @ (force @ self.basis).mT).squeeze(-1)
        jump = -self._jumps(pull, self.run).gather(-1, self.lines.clamp_min(0))
        slack = torch.stack([multiplier, jump - multiplier], dim=-1)
        return slack.masked_fill((self.lines < 0).unsqueeze(-1), torch.inf), jump.abs()[..., None]

    def _jumps(self, pull: Tensor, run: Tensor) -> Tensor:
        """Return kappa of each line, ``(p, n)``, of neurons that are pulled so, in their runs."""
        weighted = pull * self.norms.squeeze(-1).expand(len(self.side), -1)[run]
        if self.alone:
            return weighted
        together = self.together.expand(len(self.side), -1, -1)[run]
        return (together @ weighted.unsqueeze(-1)).squeeze(-1)

    def _noise(self, here: Here, at: Few | All) -> Tensor:
        """Return the rounding of the fields of the neurons there."""
        norms = at.columns(self.norms.expand(len(self.side), -1, self.side.shape[-1]))
        return 64 * self.eps * (at.columns(here.pull).abs() * norms).sum(-1)

    def _noise_of_slides(self, here: Here) -> Tensor:
        """Return the same of the neurons that slide, ``(m, 1, 1)``."""
        return self._noise(here, Few(self.run, None, self.neuron))[:, None, None]

    def _leaving(self, past: Tensor, rate: Tensor, size: Tensor, noise: Tensor) -> Tensor:
        """Return whether a neuron is at a kink to rounding, or past it, and goes on."""
        return (past <= 8 * self.eps * size) & (rate < -noise)

    def crossing(self, one: tuple, end: tuple, h: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Return where on a step the first event is, and which modes are wrong at its end.

        Parameters
        ----------
        one, end : tuple
            What is known at both ends of the step: Here, and what ``past`` returns.
        h : Tensor
            Its length, ``(R,)``.
        size : Tensor
            Norms of the neuron pairs, ``(R, h)``.

        Returns
        -------
        tuple of Tensor
            The part of the step after which an event is in its window, ``(R,)``, infinite where
            there is none beyond it; and the wrong modes, ``(R, n, h)``: events in their windows.
        """
        (here, g0, d0), (there, g1, d1) = one, end
        part, wrong = torch.full_like(h, torch.inf), None
        # A cubic is nowhere below its control points.
        third = h[:, None, None] / 3
        low = torch.addcmul(g0, third, d0).minimum(torch.addcmul(g1, third, d1, value=-1))
        near = low.minimum(g1) <= 8 * self.eps * size.unsqueeze(-2)
        if len(at := places(near)):
            own, length = at.of_neurons(size), at.of_runs(h)
            ends = at.each(g0), at.each(g1), length * at.each(d0), length * at.each(d1)
            # On the way, too: a neuron may have come and gone.
            lowest = _lowest(*ends)
            crossed = _cubic(lowest, *ends).minimum(ends[1]) < -self.window * own
            leaving = self._leaving(ends[1], at.each(d1), own, self._noise(there, at))
            wrong = at.mask(leaving & ~crossed, self.watch)
            target = self.window / 2 * own
            found = _first_root(ends[0] + target, ends[1] + target, *ends[2:], lowest)
            part = at.least(part, torch.where(crossed, found, torch.inf))
        if len(self.run):
            s0, jump = self._slack(here)
            s1, jump_there = self._slack(there)
            noise = self._noise_of_slides(there)
            # Where v_j passes 0 the jump does, too, and at the end of the step it has no size.
            window = torch.maximum(SHARE_WINDOW * jump.maximum(jump_there), 4 * noise)
            over = s1 < -window
            inside = torch.where(over, (s0 + window / 2) / (s0 - s1), torch.inf)
            part = part.scatter_reduce(0, self.run, inside.flatten(1).amin(-1), "amin")
            ends = self._ends((s1 < -noise) & ~over)
            wrong = ends if wrong is None else wrong | ends
        if wrong is None:
            wrong = torch.zeros_like(self.watch)
        return part.clamp_min(0.01), wrong

    def wrong(self, here: Here, past: tuple[Tensor, Tensor], size: Tensor) -> Tensor:
        """Return which modes the field contradicts, boolean ``(R, n, h)``.

        Parameters
        ----------
        here, past
            What is known at the states, and what ``past`` returns there.
        size : Tensor
            Norms of the neuron pairs, ``(R, h)``.
        """
        g, rate = past
        wrong = torch.zeros_like(self.watch)
        if len(at := places(g <= 8 * self.eps * size.unsqueeze(-2))):
            noise = self._noise(here, at)
            leaving = self._leaving(at.each(g), at.each(rate), at.of_neurons(size), noise)
            wrong = at.mask(leaving, wrong)
        if len(self.run):
            wrong = wrong | self._ends(self._slack(here)[0] < -self._noise_of_slides(here))
        return wrong

    def _ends(self, ends: Tensor) -> Tensor:
        """Return the modes of the slides that end, ``(m, s, 2)``, as a mask of ``(R, n, h)``."""
        R, n, h = self.side.shape
        mask = self.watch.new_zeros(R, n + 1, h)
        # What is no line, -1, is the last.
        mask[self.run[:, None], self.lines, self.neuron[:, None]] = ends.any(-1)
        return mask[:, :n]

    def pivot(
        self, theta: Tensor, here: Here, wrong: Tensor, first: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Change the first wrong mode of each neuron.

        Parameters
        ----------
        theta, here
            The states, and what is known there.
        wrong : Tensor
            What ``wrong`` returned.
        first : bool
            Whether these are the first changes at this instant. Then a neuron that slides nowhere
            and has one wrong mode crosses at once where it will not slide.

        Returns
        -------
        tuple of Tensor
            The states, with the neurons that begin a slide moved onto it, and the numbers of
            changes and of slides begun, ``(R,)``.
        """
        run, neuron = wrong.any(-2).nonzero(as_tuple=True)
        line = wrong[run, :, neuron].to(torch.uint8).argmax(-1)
        at = (run, line, neuron)
        kappa = self._jumps(here.pull[run, :, neuron], run).gather(-1, line[:, None]).squeeze(-1)
        W, V = self.model.unpack(theta)
        u = self.U.expand(len(theta), -1, -1)[run, line]
        rate = (u * self.model.unpack(here.slope)[0][run, :, neuron]).sum(-1).abs()
        side, inside = -self.side[at], torch.zeros_like(rate)
        simple = (wrong.sum(-2)[run, neuron] == 1) & first
        if len(self.run):
            mine = (self.run == run[:, None]) & (self.neuron == neuron[:, None])  # (p, m)
            slides, which = mine.any(-1), mine.to(torch.uint8).argmax(-1)
            across = (self.basis[which].mT @ u.unsqueeze(-1)).square().sum((-2, -1))
            inside, simple = torch.where(slides, across, inside), simple & ~slides
            # A slide ends at alpha = 0, which is the side -1 of it, or at 1.
            low = self._slack(here)[0][which, :, 0] < 0
            low = (low & (self.lines[which] == line[:, None])).any(-1)
            side = torch.where(slides & low & ~self.watch[at], -1.0, side)
        # A line that depends on those of the slides is no further constraint.
        begins = self.watch[at] & (kappa < 0) & (1 - inside > 64 * self.eps)
        # It stays only if what keeps it there is within the jump.
        begins &= ~simple | (rate <= -kappa)
        self.side, self.watch = self.side.clone(), self.watch.clone()
        self.side[at] = torch.where(begins, -1.0, side)
        self.watch[at] = ~begins
        self.active = self._active()
        self._slide(run, neuron)
        changes = torch.zeros(len(theta), dtype=torch.long, device=theta.device)
        begun = changes.index_add(0, run, begins.long())
        # No neuron's name is -1.
        names = torch.where(begins, self._names(run, neuron), -1)
        begins = torch.isin(self._names(self.run, self.neuron), names).nonzero().squeeze(-1)
        at, basis = (self.run[begins], slice(None), self.neuron[begins]), self.basis[begins]
        W, w = W.clone(), W[at].unsqueeze(-1)
        W[at] = (w - basis @ (basis.mT @ w)).squeeze(-1)
        return self.model.pack(W, V), changes.index_add(0, run, torch.ones_like(run)), begun

    def _names(self, run: Tensor, neuron: Tensor) -> Tensor:
        """Return one number for each neuron of each run."""
        return run * self.side.shape[-1] + neuron


def _cubic(x: float | Tensor, a: Tensor, b: Tensor, da: Tensor, db: Tensor) -> Tensor:
    """Return at x in [0, 1] the cubic with these ends and end slopes."""
    y = 1 - x
    return (y * y * (1 + 2 * x)) * a + (y * y * x) * da + (x * x * (1 + 2 * y)) * b - x * x * y * db


def _lowest(a: Tensor, b: Tensor, da: Tensor, db: Tensor) -> Tensor:
    """Return where on [0, 1] that cubic has its minimum; 1 where it has none inside."""
    cubed, squared = 2 * (a - b) + da + db, 3 * (b - a) - 2 * da - db
    x = -da / (squared + (squared.square() - 3 * cubed * da).sqrt())
    return torch.where((x > 0) & (x < 1), x, 1)


def _first_root(a: Tensor, b: Tensor, da: Tensor, db: Tensor, lowest: Tensor) -> Tensor:
    """Return where a cubic that starts above zero and comes below it first does so."""
    value = _cubic(lowest, a, b, da, db)
    before = lowest * (a / (a - value)).clamp(0, 1)
    after = lowest + (1 - lowest) * (value / (value - b)).clamp(0, 1)
    return root(torch.where(value < 0, before, after), a, b, da, db)


def root(x: Tensor, a: Tensor, b: Tensor, da: Tensor, db: Tensor) -> Tensor:
    """Return the x in (0, 1) near the given one at which the cubic with these ends is zero.

    To rounding where the root is simple and near 1; elsewhere it need only be near, since a step
    that ends beside it is taken again.
    """
    for _ in range(4):
        y = 1 - x
        slope = 6 * x * y * (b - a) + y * (1 - 3 * x) * da + x * (3 * x - 2) * db
        new = x - _cubic(x, a, b, da, db) / slope
        x = torch.where((new > 0) & (new < 1), new, x)
    return x
