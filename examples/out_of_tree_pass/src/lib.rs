//! A compiler pass outside of the compiler, as a researcher writes one: [`save_rotation_keys`].

pub mod save_rotation_keys;
