//! HPACK (RFC 7541).
#![allow(missing_docs, clippy::todo, clippy::new_without_default)]
use super::fields::{Fields, Indexing};
#[derive(Debug)]
pub struct Decoder;
impl Decoder {
    pub fn new(_max_table_size: u32) -> Self {
        todo!()
    }
    pub fn decode(
        &mut self,
        _block: &[u8],
        _fields: &mut Fields,
        _max_list_size: usize,
    ) -> Result<(), DecodeError> {
        todo!()
    }
    pub fn generation(&self) -> u32 {
        todo!()
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    Malformed(&'static str),
    TooLarge,
}
#[derive(Debug)]
pub struct Encoder;
impl Encoder {
    pub fn new() -> Self {
        todo!()
    }
    pub fn set_max_table_size(&mut self, _peer: u32) {
        todo!()
    }
    pub fn begin(&mut self, _out: &mut Vec<u8>) {
        todo!()
    }
    pub fn field(&mut self, _name: &[u8], _value: &[u8], _indexing: Indexing, _out: &mut Vec<u8>) {
        todo!()
    }
    pub fn generation(&self) -> u32 {
        todo!()
    }
}
