//! Optimisation passes and lowerings from nn to ckks, with the cost model.
