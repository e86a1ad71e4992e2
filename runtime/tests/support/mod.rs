//! Plan files taken apart and put together again, with right checksums.

use aphelion_runtime::plan::container::{Container, Section, write};

/// The three hashed sections and the data of a plan file.
pub fn sections(bytes: &[u8]) -> ([Vec<u8>; 3], Vec<u8>) {
    let container = Container::from_bytes(bytes).unwrap();
    let section = |section| container.section(section).unwrap();
    let (offset, length) = container.data();
    (
        [
            section(Section::Client),
            section(Section::Program),
            section(Section::ConstantIndex),
        ],
        bytes[offset as usize..(offset + length) as usize].to_vec(),
    )
}

/// A file of these sections and data.
pub fn rebuilt(sections: &[Vec<u8>; 3], data: &[u8]) -> Vec<u8> {
    write([&sections[0], &sections[1], &sections[2]], data)
}
