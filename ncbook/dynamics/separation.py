"""When the classes separate: to each its own neurons.

Separation is for good. A neuron that is active on class k alone and has its v nearest to e~_k is
pulled along the samples of class k, which keeps it active on them and off all others, and along
e_k less the softmax, which raises <e~_k, v> over the others. So the first time at which a run is
separated is the T* of Proposition 1, and a run that got there needs no further integration.

Source: Min, Zhu and Vidal (2025), Proposition 1.
"""

import torch
from torch import Tensor

from ncbook.dynamics.flow import flow
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import finer


def separation_times(
    model: ShallowReLU,
    start: Tensor,
    rate: Tensor,
    step: float,
    end: float,
    groups: Tensor | None = None,
) -> Tensor:
    """Return T* of each run: the time from which on each neuron serves one class alone.

    Time is counted in units of 1/rate, each run's own. The flow is looked at after each step of
    the fourth-order method, so that T* is rounded up to a multiple of ``step``.

    Parameters
    ----------
    model : ShallowReLU
        The network on its data.
    start : Tensor
        Shape ``(*batch, P)``.
    rate : Tensor
        Positive, broadcasts with ``batch``: a rate of the field, such as that of alignment
        (:func:`ncbook.theory.relu.alignment.alignment_points`).
    step, end : float
        Step and last time, in units of 1/rate.
    groups : Tensor, optional
        Classes of the neurons, ``(*batch, h)`` or what broadcasts: a run counts as separated only
        with these. Without it any will do.

    Returns
    -------
    Tensor
        rate T*, shape ``batch``; NaN for a run that is not separated at the end, or whose state
        ceased to be finite.

    Raises
    ------
    ValueError
        A rate, the step or the end is not positive.
    """
    if not (step > 0 and end > 0 and bool((rate > 0).all())):
        raise ValueError(
            f"step = {step}, end = {end}, rates from {float(rate.min()):g} on: expected positive "
            "numbers."
        )
    batch, step = start.shape[:-1], finer(step)
    z = start.reshape(-1, start.shape[-1])
    pace = rate.expand(batch).reshape(-1, 1)
    if groups is not None:
        groups = groups.expand(*batch, model.width).reshape(-1, model.width)
    times = z.new_full((len(z),), torch.nan)
    left = torch.arange(len(z), device=z.device)  # the runs that have not separated
    net = model.for_runs(batch, left)
    for count in range(round(end / step) + 1):
        if count:
            z = flow(lambda z, net=net, pace=pace: net.field(z) / pace, z, step, [step]).final
        # Where nothing is finite no neuron is active, which would pass for separated.
        apart = net.separated(z) & z.isfinite().all(-1)
        if groups is not None:
            apart &= (net.groups(z) == groups).all(-1)
        if bool(apart.any()):
            times[left[apart]] = count * step
            stay = ~apart
            left, z, pace = left[stay], z[stay], pace[stay]
            groups = groups[stay] if groups is not None else None
            if not len(left):
                break
            net = model.for_runs(batch, left)
    return times.view(batch)
