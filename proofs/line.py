"""An expression on one line, in the letters of the statements."""

from sympy import Basic, Expr
from sympy.printing.str import StrPrinter

_LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ", "kappa": "κ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "omega": "ω", "Phi": "Φ",
}  # fmt: skip
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class _Line(StrPrinter):
    def _print_Symbol(self, expr: Basic) -> str:
        return _letter(expr.name)

    def _print_Function(self, expr: Basic) -> str:
        return f"{_letter(expr.func.__name__)}({self.stringify(expr.args, ', ')})"

    def _print_UndefinedFunction(self, expr: Basic) -> str:
        return _letter(expr.__name__)

    def _print_Sum(self, expr: Basic) -> str:
        return self._ranged(expr, "Σ")

    def _print_Product(self, expr: Basic) -> str:
        return self._ranged(expr, "Π")

    def _print_Integral(self, expr: Basic) -> str:
        return self._ranged(expr, "∫")

    def _ranged(self, expr: Basic, sign: str) -> str:
        ranges = " ".join(f"{sign}[{', '.join(map(self._print, range_))}]" for range_ in reversed(expr.limits))
        return f"{ranges} ({self._print(expr.function)})"

    def _print_Derivative(self, expr: Basic) -> str:
        by = " ".join(f"∂{self._print(x)}{'' if n == 1 else f'^{n}'}" for x, n in expr.variable_count)
        return f"∂({self._print(expr.expr)})/{by}"

    def _print_Limit(self, expr: Basic) -> str:
        function, letter, point, _ = expr.args
        return f"lim[{self._print(letter)} → {self._print(point)}] ({self._print(function)})"

    def _print_Subs(self, expr: Basic) -> str:
        at = ", ".join(f"{self._print(a)} = {self._print(b)}" for a, b in zip(expr.variables, expr.point, strict=True))
        return f"({self._print(expr.expr)}) at {at}"

    def _print_binomial(self, expr: Basic) -> str:
        return f"C({self.stringify(expr.args, ', ')})"

    def _print_Infinity(self, expr: Basic) -> str:
        return "∞"


def line(expression: Expr | int) -> str:
    """The expression on one line: Σ[k, 0, G] (…), √(…), C(n, k), ∂(…)/∂θ."""
    text: str = _Line().doprint(expression)
    return text.replace("sqrt", "√").replace("**", "^").replace("*", " ").replace("-", "−")


def _letter(name: str) -> str:
    head, _, index = name.partition("_")
    head = _LETTERS.get(head, head)
    return head + (index.translate(_SUBSCRIPTS) if index.isdigit() else f"_{index}" if index else "")
