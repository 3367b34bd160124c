"""How many Newton iterations does a network need in parallel over time, and does its top Lyapunov exponent tell?

Question. All T states of a recurrent network are the root of s_t - f(s_{t-1}, x_t), which Newton's method finds in a
number of iterations that are each parallel over time (`rnnlab.scan.parallel`). Measured, before training and in
float64: how many iterations DEER (full Jacobians), quasi-DEER (their diagonal) and ELK (damped; at the shortest length)
need to find one sequence's states to 1e-5, for vanilla RNNs over spectral radius, LSTMs and a GRU, beside what their
top Lyapunov exponent predicts (`rnnlab.probes.dynamics.parallelizability`). Whether that many iterations are faster
than T steps is a matter of the accelerator, and not asked here.

Expectation. Few iterations at any length where the exponent is below 0, and about as many as steps where it is above
(Gonzalez, Kozachkov, Zoltowski, Clarkson & Linderman 2025, section 5 and figure 2), never more than T (Gonzalez,
Warrington, Smith & Linderman 2024, proposition 1). Their number is as that paper's appendix K.1 has it proportional to
log G, the logarithm of the condition; as is argued here it is 1 + the number of steps that count, at most T.

Command. python -m rnnlab.run --exp=parallel_in_time [--tier=smoke|quick|paper]
"""

from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.probes.dynamics.parallelizability import log_conditioning, parallelizability
from rnnlab.reports import iterations
from rnnlab.reports.report import Report
from rnnlab.reports.tables import format_interval, listed
from rnnlab.scan.parallel import solve_in_parallel
from rnnlab.specs.grid import product
from rnnlab.stats.estimates import median
from rnnlab.tasks import Adding

RADII = [0.5, 0.8, 1.0, 1.3, 2.0, 3.0, 5.0]
LENGTHS = {"smoke": [20], "quick": [100, 400], "paper": [100, 400, 1600]}
THEORY, METHOD = "Gonzalez et al. 2025, {}", "Gonzalez et al. 2024, {}"


def config(tier):
    """No training. In float64, so that not rounding decides which trajectory is found."""
    seeds = {"smoke": 2, "quick": 4, "paper": 10}[tier]
    common = {"task": Adding, "cell.dtype": "float64", "cell.param_dtype": "float64", "train.steps": 0, "seeds": seeds}
    return common | {"cell.features": {"smoke": 4, "quick": 32, "paper": 64}[tier], "flow.examples": 1}


def arms(tier):
    lengths = {f"Adding {length}": {"task.length": length} for length in LENGTHS[tier]}
    networks = {f"g={g}": {"cell": VanillaRNN, "cell.recurrent": "normal", "cell.spectral_radius": g} for g in RADII}
    networks |= {f"LSTM bias {b}": {"cell": LSTM, "cell.forget_bias": float(b)} for b in (1, 3)}
    networks["GRU"] = {"cell": GRU}
    if tier == "smoke":  # two programs
        networks = {name: networks[name] for name in ("g=0.5", "g=3.0", "GRU")}
    return product(lengths, networks)


def probes(spec):
    return {"iterations": with_elk if spec.task.length <= 100 and isinstance(spec.cell, VanillaRNN) else without_elk}


def with_elk(model, inputs, losses, answers):
    return without_elk(model, inputs, losses, answers) | needed(model, inputs, "elk")


def without_elk(model, inputs, losses, answers):
    """Exponent, prediction and iterations of the first sequence."""
    told = parallelizability(model.step, inputs[:, :1], carry=model.initial_carry(1))
    found = {"exponent": told.exponent[0], "predicted": told.iterations[0], "first_error": told.first_error[0]}
    found["log_condition"] = log_conditioning(told.exponent[0], len(inputs))
    return found | needed(model, inputs, "deer") | needed(model, inputs, "quasi-deer")


def needed(model, inputs, method):
    carry, inputs = model.initial_carry(1), inputs[:, :1]
    return {method: solve_in_parallel(model.step, carry, inputs, method=method, most=len(inputs) + 1).iterations[0]}


def report(results):
    longest = list(results.longest.values())
    told = [iterations.enough(results, METHOD.format("proposition 1"))]
    told += iterations.forgetting_needs_fewer(longest, THEORY.format("figure 2"))
    told += filter(None, [iterations.same_at_any_length(results, THEORY.format("theorem 2"))])
    ours = "a scaling argument: rnnlab.probes.dynamics.parallelizability"
    told.append(iterations.within_a_factor("as many iterations as predicted", ours, iterations.predictions(results)))
    says, source = "iterations proportional to log G, at the best constant", THEORY.format("appendix K.1")
    told.append(iterations.within_a_factor(says, source, iterations.by_condition(results)))
    told.append(iterations.quasi_needs_more(results, THEORY.format("appendix K.3")))
    drawn = {"iterations": iterations.needed_and_predicted, "methods": iterations.by_method}
    return Report(answer(results, longest), drawn, told, columns=iterations.COLUMNS)


def answer(results, longest):
    said, away = [], f"{iterations.AWAY:g}"
    for where, belongs in ((f"below -{away}", iterations.forgets), (f"above {away}", iterations.is_chaotic)):
        if of := [iterations.found(t, "deer") for arm in longest for t in arm.trials if belongs(t)]:
            said.append(f"{format_interval(median(of), 2)} iterations where the top exponent is {where}")
    pairs = iterations.predictions(results)
    near = sum(max(pair) <= iterations.FACTOR * min(pair) for pair in pairs)
    told = f"The prediction is right to a factor of {iterations.FACTOR} in {near} of {len(pairs)} sequences."
    return f"Over {longest[0].length:,} steps DEER needs {listed(said)}. {told}" if said else told
