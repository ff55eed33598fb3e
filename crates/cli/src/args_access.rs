//! The command line of what lets machines and people in.

use clap::{Args, Subcommand};

/// `regent token`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TokenArgs {
    /// What to do; without a word, a token is made
    #[command(subcommand)]
    pub verb: Option<TokenCommand>,
    /// What it is good for
    #[command(flatten)]
    pub made: TokenMade,
}

/// What can be done with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a token with which one machine can join
    #[command(after_help = "Examples:
  regent token create
  regent token create --witness --for-minutes 15")]
    Create(TokenMade),
    /// The tokens that were made, and what became of each
    List,
    /// Take a token back: nobody can join with it any more, nor again
    #[command(after_help = "Its number stands in: regent token list
Example:
  regent token revoke 3f7a01c2")]
    Revoke {
        /// Its number
        token: String,
    },
}

/// What a token is good for.
#[derive(Debug, Clone, Args)]
pub struct TokenMade {
    /// For a witness
    #[arg(long)]
    pub witness: bool,
    /// For how many minutes; an hour if it is not said, a week at most
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=10_080))]
    pub for_minutes: Option<u32>,
}

/// What can be done with the cluster's key.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Change it on every member while everything runs; the old one is good for nothing afterwards
    #[command(
        after_help = "Every member gets the new key, then uses it, then forgets the old one; groups do not notice.
A member that is down is waited for, or left out: it is given the key by its machine's own key pair
when it comes back. With a change under way, --without leaves a member out that it waits for.
Examples:
  regent key rotate
  regent key rotate --without lx6
  regent key rotate --without lx5 --without lx6
  regent key status"
    )]
    Rotate {
        /// A member that is down, and is not waited for; once for each
        #[arg(long, value_name = "NODE")]
        without: Vec<String>,
    },
    /// Which key is in use, and how far a change is
    Status,
}
