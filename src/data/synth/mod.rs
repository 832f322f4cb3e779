//! The built-in image set: photo-like JPEGs, drawn from a seed, that a small ResNet learns and a
//! linear model or a colour histogram does not.
//!
//! A class is a silhouette (a rounded star with 3 to 6 arms) *and* a texture (stripe, checker,
//! ring, spot): 16 classes are 4 x 4, so both must be read. The rest of an image (1/f background,
//! soft blobs, half of them in a texture of other classes, plain silhouettes with other numbers of
//! arms, an occluder, place, size, turn, squash, polarity, shading, noise) misleads, but for a
//! weak leaning of the colours that gets a small network off chance within an epoch. The period of
//! a texture is a sixth of the object's side: some pixels still, after a crop to 40 px.
//!
//! An image is a pure function of (config, split, index), bit for bit, whatever the number of
//! threads. Files have 0.4 to 0.7 bytes a pixel as photographs do, so decoding costs what it
//! costs on ImageNet.
//!
//! Deliberately absent: any file that is read, and any class that means something.

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
