//! The few operations of a folder on a disk that the store needs.

use std::io;

/// Files in one folder. Nothing is durable before it is synced: contents by [`Disk::sync`], names by
/// [`Disk::sync_folder`].
pub trait Disk {
    /// The names of all files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes an empty file, also in the place of one of the same name.
    ///
    /// # Errors
    /// When the folder cannot be written.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Writes at an offset, and makes the file longer where needed.
    ///
    /// # Errors
    /// When any byte could not be written; some may have been.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written to the file durable, its length included.
    ///
    /// # Errors
    /// Final: what was written before may be lost, and a later success says nothing about it.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in the place of one that may have it.
    ///
    /// # Errors
    /// When it is not there, or the folder cannot be written.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When it is not there, or the folder cannot be written.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes names durable: those made, changed and removed.
    ///
    /// # Errors
    /// Final, as for [`Disk::sync`].
    fn sync_folder(&mut self) -> io::Result<()>;

    /// The folder, for people.
    fn place(&self) -> String;
}

impl<D: Disk + ?Sized> Disk for &mut D {
    fn list(&mut self) -> io::Result<Vec<String>> {
        (**self).list()
    }
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        (**self).read(name)
    }
    fn create(&mut self, name: &str) -> io::Result<()> {
        (**self).create(name)
    }
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write(name, offset, bytes)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        (**self).sync(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        (**self).remove(name)
    }
    fn sync_folder(&mut self) -> io::Result<()> {
        (**self).sync_folder()
    }
    fn place(&self) -> String {
        (**self).place()
    }
}
