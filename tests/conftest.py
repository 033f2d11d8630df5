"""Settings of the whole suite."""

import os

# The suite compiles many tiny programs: nearly all of its time goes into compiling, next to none into running them.
_FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FAST_COMPILATION}".strip()

# Commands that tests start in processes of their own must not find what an earlier run of the suite has compiled.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
