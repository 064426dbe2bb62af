//! A store that cannot be used, said so that an operator knows which setting
//! to look at and what to do.

use std::fmt;

use darktower_store::Unusable;

use crate::show;

/// Why a store was not opened.
#[derive(Debug)]
pub(crate) struct Refusal {
    says: String,
    by_setting: bool,
}

impl Refusal {
    /// Whether it stays as it is until a setting is changed.
    pub(crate) fn is_by_setting(&self) -> bool {
        self.by_setting
    }

    /// A setting that cannot be meant so.
    pub(crate) fn of_setting(says: String) -> Self {
        let by_setting = true;
        Self { says, by_setting }
    }

    /// The process that should hold the state at `url` does not give it.
    pub(crate) fn of_holder(url: &str, why: &darktower_store::Error) -> Self {
        Self {
            says: format!(
                "state.url {url}: {why}. Is `darktower global` running there, and do both have certificates of one \
                 authority in `[cluster]`, or neither?"
            ),
            by_setting: false,
        }
    }

    /// The state store at `url` is of no use.
    pub(crate) fn of_state(url: &str, why: &Unusable) -> Self {
        let advice = match why {
            Unusable::Password(_) => {
                "write the password into a file and name that in `state.password_file`"
            }
            Unusable::Tls(_) => {
                "TLS is spoken with rediss:// alone; `state.authorities_file` names certificates that are trusted \
                 instead of the system's"
            }
            Unusable::Unreachable(_) => {
                "is a Redis running there, and may this machine connect to it?"
            }
            Unusable::Silent => {
                "is it a Redis, and do both ends speak TLS (rediss://) or neither (redis://)?"
            }
            Unusable::Url(_)
            | Unusable::Unfit(_)
            | Unusable::Busy(_)
            | Unusable::Interrupted(_)
            | Unusable::Schema(_) => "",
        };
        Self::of("state.url", url, why, advice)
    }

    /// The database at `url` is of no use.
    pub(crate) fn of_database(url: &str, why: &Unusable) -> Self {
        Self::of_postgres("database.url", url, why)
    }

    /// The database's replica at `url` is of no use.
    pub(crate) fn of_replica(url: &str, why: &Unusable) -> Self {
        Self::of_postgres("database.replica_url", url, why)
    }

    fn of_postgres(setting: &str, url: &str, why: &Unusable) -> Self {
        let advice = match why {
            Unusable::Password(_) => {
                "the user stands in the URL; write the password into a file and name that in \
                 `database.password_file`"
            }
            Unusable::Tls(_) => {
                "`sslmode` and `sslrootcert` in the URL say whether TLS is spoken and which certificates are trusted"
            }
            Unusable::Unreachable(_) => {
                "is a PostgreSQL running there, and may this machine connect to it?"
            }
            Unusable::Silent => "is it a PostgreSQL, and is it well?",
            Unusable::Busy(_) => {
                "run it again when they have ended; `pg_stat_activity` says who they are"
            }
            Unusable::Interrupted(_) => {
                "all of it is done or nothing: run `darktower migrate` again"
            }
            Unusable::Unfit(says) if says.contains("`pooler`") => "set `database.pooler = true`",
            Unusable::Url(_) | Unusable::Unfit(_) | Unusable::Schema(_) => "",
        };
        Self::of(setting, url, why, advice)
    }

    fn of(setting: &str, url: &str, why: &Unusable, advice: &str) -> Self {
        let url = show::without_credentials(url).unwrap_or_else(|| url.to_owned());
        let stop = if advice.is_empty() { "" } else { ". " };
        Self {
            says: format!("{setting} {url}: {why}{stop}{advice}"),
            by_setting: matches!(
                why,
                Unusable::Url(_) | Unusable::Password(_) | Unusable::Tls(_) | Unusable::Unfit(_)
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_names_a_setting_and_no_password() {
        let why = Unusable::Password("NOAUTH".to_owned());
        let says = Refusal::of_state("redis://me:s3cret@h:1", &why).to_string();
        assert!(says.contains("state.url redis://***@h:1"), "{says}");
        assert!(
            says.contains("`state.password_file`") && !says.contains("s3cret"),
            "{says}"
        );
        let why = Unusable::Schema("run `darktower migrate`".to_owned());
        let refusal = Refusal::of_database("postgres://h/d", &why);
        assert!(
            refusal.to_string().ends_with("`darktower migrate`"),
            "{refusal}"
        );
        assert!(!refusal.is_by_setting());
    }

    #[test]
    fn what_stopped_a_migration_names_what_to_do() {
        let busy = Unusable::Busy("another migration holds the lock".to_owned());
        let interrupted = Unusable::Interrupted("the connection broke".to_owned());
        for (why, advice) in [
            (busy, "run it again when they have ended"),
            (interrupted, "run `darktower migrate` again"),
        ] {
            let refusal = Refusal::of_database("postgres://h/d", &why);
            let says = refusal.to_string();
            assert!(
                says.contains(&why.to_string()) && says.contains(advice),
                "{says}"
            );
            assert!(!refusal.is_by_setting());
        }
    }
}
