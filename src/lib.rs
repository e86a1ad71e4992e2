//! Driver of the Aphelion compiler: from a model file to an encrypted prediction.
