"""Settings of the whole suite."""

import os

# The suite compiles many tiny programs: the time to compile them is most of its time, the time to run them next to none.
_FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FAST_COMPILATION}".strip()
