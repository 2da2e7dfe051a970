"""Networks, their training and their scores, on plain arrays and tensors."""

import os

# Whatever computes in threads loads OpenMP, which reads this once, when it is loaded. Threads that
# wait for each other keep their processors busy for 300,000 turns by default, also where another
# process needs them; what that costs is in benchmarks/neighbours.py.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
