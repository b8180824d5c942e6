"""Names of what is summed over a block of first steps, in order."""

STATISTICS = (
    "count",  # networks
    "ntk_0",  # sum of K_0, averaged over the diagonal of the train points
    "ntk_0_square",
    "delta",  # sum of DeltaK, the same average
    "delta_square",
    "linear",  # sum of eta dK/d eta with the gates held
    "linear_square",
    "rest",  # sum of DeltaK - eta dK/d eta: gate flips (of activations with a kink) and higher orders in eta
    "rest_square",
    "ratio",  # sum of DeltaK/K_0 over networks with K_0 > 0
    "alive",  # number of networks with K_0 > 0
    "flipped",  # sum of the fraction of gates flipped
    "grown",  # number of networks whose kernel grows
    "delta_frobenius",  # sum of |DeltaK(X, X)|_F/|K_0(X, X)|_F on the train points
    "delta_eval",  # sum of DeltaK averaged over the diagonal of the points outside the batch
    "ntk_0_eval",
    "jump",  # sum of the predicted jump sum per unit eta (kinks, one train point, absolute eta)
)
