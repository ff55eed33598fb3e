//! The words of `regent node remove`.

use clap::Args;

use crate::args::WaitArgs;

/// What it does, and how it is used.
pub const EXAMPLES: &str = "The member loses its vote first, as soon as every lease is known to hold without it. Then it lets
go of its groups, which its peers acquire, and stops; and when it is certain that it is over, it is taken out of the
configuration and is no member any more. A machine that comes back after that is told, and says what to type. Nobody is
ever given its number again; its name and address are free.

Two votes with nobody to decide between them are refused: let the new witness or node join first.
Examples:
  regent node remove lx6                 it runs: its groups go elsewhere, it stops and is taken out
  regent node remove lx6 --dead          its machine never comes back; if its end is not proven:
  regent node confirm-dead lx6 --why 'burnt, ticket 311'
  regent node remove lx6 --undo          it stays after all
A witness in the place of another:
  regent token --witness                 and on the new machine: regent witness TOKEN
  regent node remove wit                 the old one";

/// What `regent node remove` takes.
#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    /// The node or witness
    pub node: String,
    /// Its machine never comes back: nothing of it is waited for, but its end has to be proven, or to be your word
    #[arg(long, conflicts_with = "undo")]
    pub dead: bool,
    /// Let a member stay that was to be removed and still is one
    #[arg(long)]
    pub undo: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
}
