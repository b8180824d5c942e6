"""Names of what is summed over a block of draws of the kernel at initialization, in order."""

STATISTICS = (
    "count",  # networks
    "weight",  # sum of w
    "weight_square",  # sum of w^2
    "ntk_1",  # sum of w K^p, K^p averaged over the inputs of one network
    "ntk_2",
    "ntk_3",
    "ntk_4",
    "ntk_2_square",  # sum of (w K^2)^2
    "alive",  # sum of w 1{K > 0}
    "log_ntk",  # sum of w log K over K > 0
    "log_ntk_square",
    "dead",  # sum of 1{f = 0}
)
HISTOGRAMS = ("log_ntk", "log_min_eigenvalue", "log_condition")
