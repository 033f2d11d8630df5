"""The letters that the theorems share, as SymPy objects, and the binomial law.

`θ` is one coordinate of the parameters, any one: what holds for `∂/∂θ` in each coordinate holds for the gradient.
`q` stands for `1 − p`; it is a letter of its own where `p + q = 1` is not needed, and a step that needs it says so.
"""

from sympy import Expr, Function, Symbol, binomial, symbols

θ, θ_old = symbols("theta theta_old", real=True)
p, q = symbols("p q", positive=True)
α = Symbol("alpha", nonnegative=True)
β, ε, ρ = symbols("beta epsilon rho", positive=True)
A = Symbol("A", real=True)
G, L, N, g = symbols("G L N g", integer=True, positive=True)
i, j, k, t, u, y = symbols("i j k t u y", integer=True)
m, n = symbols("m n", integer=True, nonnegative=True)

π = Function("pi", positive=True)


def binomial_law(n: Expr, k: Expr) -> Expr:
    """The probability of k successes in n independent trials that succeed with probability p."""
    return binomial(n, k) * p**k * q ** (n - k)
