//! Why a file of weights cannot be used.

use std::path::PathBuf;

/// An error that names the file and ends with the fix.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read the weights {}: {source}; name a file of weights", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}; name another file", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A tensor is not in fp32.
    #[error(
        "{}: {name} is {dtype}, and ONNX is written from fp32; convert the weights to fp32",
        path.display()
    )]
    NotFp32 {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its numbers.
        dtype: String,
    },
    /// The file was written by `torch.save`.
    #[error(
        "{path} is a pickle of PyTorch's; make safetensors of it: python -c \"import torch, \
         safetensors.torch as s; s.save_file({{k: v.contiguous() for k, v in torch.load('{path}', \
         map_location='cpu', weights_only=True).items()}}, 'weights.safetensors')\"",
        path = path.display()
    )]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// The file is not safetensors, or damaged.
    #[error(
        "{} is not a file of safetensors ({reason}); name one, as the weights.safetensors of a run",
        path.display()
    )]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// Its names are not those of a ResNet.
    #[error(
        "{}: {reason}, so these are not the weights of a ResNet with torchvision's names; name other \
         weights", path.display()
    )]
    NotResNet {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The file has tensors that the network has not, so that it would compute something else.
    #[error(
        "{} has {}, which the network has not; name the recipe of the weights with --recipe",
        path.display(), listed(names)
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The tensors.
        names: Vec<String>,
    },
    /// Tensors of the network are not in the file.
    #[error(
        "{} lacks {}; {cure}", path.display(), listed(names)
    )]
    Lacks {
        /// The file.
        path: PathBuf,
        /// The missing tensors.
        names: Vec<String>,
        /// What helps.
        cure: String,
    },
    /// A tensor has another shape than in the network.
    #[error(
        "{}: {name} is {found:?} and the network needs {wanted:?}; set model.arch to the network of \
         the weights", path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape in the network.
        wanted: Vec<usize>,
    },
    /// The weights do not say which class an output stands for.
    #[error(
        "{} has {found} classes without names, and the images have {wanted}; name the classes with \
         --classes FILE, a name a line in the order of the outputs", path.display()
    )]
    NumClasses {
        /// The file.
        path: PathBuf,
        /// Outputs of the network.
        found: usize,
        /// Classes of the images.
        wanted: usize,
    },
    /// A class of the images is none of the weights'.
    #[error(
        "the weights {} know no class {class:?}; evaluate on images of their classes ({known} ...)",
        path.display()
    )]
    UnknownClass {
        /// The file.
        path: PathBuf,
        /// The class.
        class: String,
        /// The first of the weights' classes.
        known: String,
    },
}

/// The first names of a list, and how many others there are.
pub(super) fn listed(names: &[String]) -> String {
    const NUM_SHOWN: usize = 3;
    let shown = names.iter().take(NUM_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NUM_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
