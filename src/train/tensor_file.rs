//! Named tensors as safetensors.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use tch::{Device, Kind, Tensor};

use crate::model::Named;

/// The numbers of each tensor in row-major `[N, C, H, W]` order, whatever its layout and its device.
pub(super) fn encode(
    named: &[Named],
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>, String> {
    let raw: Vec<_> = named.iter().map(|(_, tensor)| bytes(tensor)).collect();
    let views = named.iter().zip(&raw).map(|((name, tensor), bytes)| {
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        let view = TensorView::new(dtype(tensor.kind())?, shape, bytes);
        Ok((name, view.map_err(|error| error.to_string())?))
    });
    let views: Vec<_> = views.collect::<Result<_, String>>()?;
    serialize(views, metadata).map_err(|error| error.to_string())
}

/// The tensors of a file.
pub(super) struct TensorFile<'a>(SafeTensors<'a>);

impl<'a> TensorFile<'a> {
    /// Reads the names and places of tensors in the bytes of a file.
    pub(super) fn decode(file: &'a [u8]) -> Result<Self, String> {
        SafeTensors::deserialize(file).map(Self).map_err(|error| error.to_string())
    }

    /// The tensor `name`, on the CPU.
    pub(super) fn get(&self, name: &str) -> Option<Tensor> {
        let view = self.0.tensor(name).ok()?;
        let size: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        Tensor::f_from_data_size(view.data(), &size, kind(view.dtype())?).ok()
    }
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let num = tensor.numel();
    let mut bytes = vec![0; num * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, num);
    bytes
}

const KINDS: [(Kind, Dtype); 7] = [
    (Kind::Uint8, Dtype::U8),
    (Kind::Int, Dtype::I32),
    (Kind::Int64, Dtype::I64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
];

fn dtype(kind: Kind) -> Result<Dtype, String> {
    let known = KINDS.iter().find(|(it, _)| *it == kind);
    known.map(|(_, dtype)| *dtype).ok_or_else(|| format!("no file holds tensors of {kind:?}"))
}

fn kind(dtype: Dtype) -> Option<Kind> {
    KINDS.iter().find(|(_, it)| *it == dtype).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_every_kind_survive_the_round_trip() {
        let numbers = Tensor::from_slice(&[0f64, 1.0, -2.5, 3.0, 4.0, 7.0]).view([2, 3]);
        let named: Vec<Named> = KINDS
            .iter()
            .map(|(kind, _)| (format!("{kind:?}"), numbers.abs().to_kind(*kind)))
            .chain([("transposed".to_owned(), numbers.tr()), ("scalar".to_owned(), 5i64.into())])
            .collect();
        let file = encode(&named, None).unwrap();
        let read = TensorFile::decode(&file).unwrap();
        for (name, tensor) in &named {
            let found = read.get(name).unwrap();
            assert_eq!((found.kind(), found.size()), (tensor.kind(), tensor.size()), "{name}");
            assert!(found.equal(tensor), "{name}");
        }
        assert!(read.get("other").is_none());
        assert!(TensorFile::decode(&file[..file.len() - 1]).is_err());
    }
}
