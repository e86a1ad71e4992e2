//! Turns a finished ckks program into something that runs.
