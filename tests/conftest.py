"""What all tests share."""

import torch

# The batches of tests are small: on one thread they are as fast, and do not suffer from what else the machine does.
torch.set_num_threads(1)
