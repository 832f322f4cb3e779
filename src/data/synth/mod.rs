//! The built-in image set: photo-like JPEGs, drawn from a seed, which a small ResNet
//! learns and a linear model or a colour histogram does not.
//!
//! A class is a silhouette (a rounded star with 3 to 6 arms) *and* a texture (stripe, checker,
//! ring, spot): 16 classes are 4 x 4, so both must be recognized. Everything else in an image is a
//! distractor (1/f background, soft blobs, half of them with a texture of other classes, plain
//! silhouettes with other numbers of arms, an occluder, position, size, rotation, aspect ratio,
//! polarity, shading, noise), except for a weak colour bias that gets a small network above chance
//! within an epoch. The period of a texture is a sixth of the object's size, which is still several
//! pixels after a crop to 40 px.
//!
//! An image is a pure function of (config, split, index), bit for bit, for any number of threads.
//! Files have 0.4 to 0.7 bytes per pixel, like photographs, so decoding costs the same as on
//! ImageNet.
//!
//! It deliberately reads no file, and its classes have no meaning.

mod canvas;
mod class;
mod error;
mod folder;
mod generator;
mod noise;
mod scene;
#[cfg(test)]
mod tests;
mod texture;

pub use error::SynthError;
pub use folder::{Progress, ensure, write};
pub use generator::{GENERATOR_VERSION, Generator, Painter, check};
