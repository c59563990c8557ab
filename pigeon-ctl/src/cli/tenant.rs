//! `tenant …`

use clap::{Args, Subcommand};

use super::values::{self, Expiry, Label, Subject};
use super::{ChangeArgs, ListArgs, Named, RemoveArgs, WriteArgs};

/// `tenant …`
#[derive(Clone, Debug, Subcommand)]
pub enum TenantCommand {
    /// Add a tenant
    #[command(
        after_help = "Examples:\n  pigeon-ctl tenant add acme\n  pigeon-ctl tenant add acme --certificate CN=asr-client,O=Acme --subject https://idp.example,alice"
    )]
    Add(AddTenant),
    /// List the tenants
    List(ListArgs),
    /// Everything about one tenant
    Get(Named),
    /// Change what is given of a tenant, and nothing else
    Set(SetTenant),
    /// Remove a tenant, and with it its keys
    Rm(RemoveArgs),
    /// API keys of a tenant
    #[command(subcommand)]
    Key(KeyCommand),
}

/// `tenant key …`
#[derive(Clone, Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an API key and print it; it is shown this once
    #[command(
        after_help = "Examples:\n  pigeon-ctl tenant key create acme\n  pigeon-ctl -q tenant key create acme --id build --expires 90d > key"
    )]
    Create(CreateKey),
    /// List the keys of a tenant: ids and when they expire
    List(Named),
    /// Revoke a key: no proxy takes it any more
    Revoke(RevokeKey),
}

/// `tenant add`
#[derive(Clone, Debug, Args)]
pub struct AddTenant {
    /// Its name
    pub name: String,
    /// What shows that a call is its.
    #[command(flatten)]
    pub fields: TenantFields,
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `tenant set`
#[derive(Clone, Debug, Args)]
pub struct SetTenant {
    /// Its name
    pub name: String,
    /// What to change.
    #[command(flatten)]
    pub fields: TenantFields,
    /// How to write.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The fields of a tenant but its keys.
#[derive(Clone, Debug, Default, Args)]
pub struct TenantFields {
    /// A subject or name of its client certificates; may be repeated, and sets all; '' removes them
    #[arg(long = "certificate", value_name = "SUBJECT|NAME")]
    pub certificates: Vec<String>,
    /// Whom its tokens are about; may be repeated, and sets all; '' removes them
    #[arg(long = "subject", value_name = "ISSUER,SUBJECT", value_parser = values::subject)]
    pub subjects: Vec<Subject>,
    /// Set a label; NAME= removes it; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label)]
    pub labels: Vec<Label>,
}

/// `tenant key create`
#[derive(Clone, Debug, Args)]
pub struct CreateKey {
    /// The tenant
    pub name: String,
    /// The id of the key [default: one is made up]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// When it expires, or in how long [default: never]
    #[arg(long, value_name = "TIME", value_parser = values::expiry)]
    pub expires: Option<Expiry>,
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `tenant key revoke`
#[derive(Clone, Debug, Args)]
pub struct RevokeKey {
    /// The tenant
    pub name: String,
    /// The id of the key
    pub id: String,
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
}
