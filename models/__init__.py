"""Networks, their training and their scores, on plain arrays and tensors."""

import os

# Whatever computes in threads loads OpenMP, which reads this once, when it is loaded. Threads that
# wait for each other keep their processors busy for 300,000 turns by default, so that two
# processes on one machine take ten times as long as either alone; after a thousand, which libgomp
# takes where it knows of more threads than processors, they let others run.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
