//! What happens to an accepted request: hold, dispatch, claim, run on the engine, settle.

pub mod settings;
