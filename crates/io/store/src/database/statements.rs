//! What is asked of every SQL backend: one text for all of them.
//!
//! A backend has the verbs `write` (rows changed), `optional` and `all` (rows), each given a function that makes the
//! query, because it may be asked of two servers; and `before_audit`, for what an entry of the audit log needs.

/// Inserts an attendance; what to do where it is there already.
macro_rules! attendance {
    ($participation:expr, $otherwise:literal) => {
        sqlx::query(concat!(
            "INSERT INTO participations (participant, meeting, role, account, admitted_ms, left_ms) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (participant) ",
            $otherwise
        ))
        .bind($participation.participant.to_vec())
            .bind($participation.meeting.to_vec())
            .bind($crate::database::rows::role_name($participation.role))
            .bind($participation.account.map(|id| id.to_vec()))
            .bind($crate::database::rows::signed($participation.admitted_ms))
            .bind($participation.left_ms.map($crate::database::rows::signed))
    };
}
pub(super) use attendance;

/// [`Database`](super::Database) for a backend with those verbs.
macro_rules! statements {
    ($backend:ty) => {
        #[async_trait::async_trait]
        impl $crate::database::Database for $backend {
            async fn create_meeting(&self, meeting: &Meeting) -> Result<(), Error> {
                let query = || {
                    sqlx::query(
                        "INSERT INTO meetings (id, code, title, max_participants, key_in_link, \
                         host_key_sha256, created_ms, ended_ms) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                    )
                    .bind(meeting.id.to_vec())
                    .bind(meeting.code.to_string())
                    .bind(meeting.title.clone())
                    .bind(i64::from(meeting.max_participants))
                    .bind(meeting.key_in_link)
                    .bind(meeting.host_key_sha256.to_vec())
                    .bind(rows::signed(meeting.created_ms))
                    .bind(meeting.ended_ms.map(rows::signed))
                };
                let written = self.write(query).await;
                written.map_err(taken("the meeting's id or code"))?;
                Ok(())
            }

            async fn meeting(&self, id: MeetingId) -> Result<Option<Meeting>, Error> {
                let query =
                    || sqlx::query("SELECT * FROM meetings WHERE id = $1").bind(id.to_vec());
                let row = self.optional(query).await?;
                row.as_ref().map(rows::meeting).transpose()
            }

            async fn meeting_by_code(&self, code: MeetingCode) -> Result<Option<Meeting>, Error> {
                let query =
                    || sqlx::query("SELECT * FROM meetings WHERE code = $1").bind(code.to_string());
                let row = self.optional(query).await?;
                row.as_ref().map(rows::meeting).transpose()
            }

            async fn end_meeting(&self, id: MeetingId, at_ms: u64) -> Result<bool, Error> {
                let query = || {
                    sqlx::query(
                        "UPDATE meetings SET ended_ms = $1 WHERE id = $2 AND ended_ms IS NULL",
                    )
                    .bind(rows::signed(at_ms))
                    .bind(id.to_vec())
                };
                Ok(self.write(query).await? == 1)
            }

            async fn create_account(&self, account: &Account) -> Result<(), Error> {
                let query = || {
                    sqlx::query(
                        "INSERT INTO accounts (id, name, password_hash, created_ms) \
                         VALUES ($1, $2, $3, $4)",
                    )
                    .bind(account.id.to_vec())
                    .bind(account.name.clone())
                    .bind(account.password_hash.clone())
                    .bind(rows::signed(account.created_ms))
                };
                let written = self.write(query).await;
                written.map_err(taken("the account's name"))?;
                Ok(())
            }

            async fn account_by_name(&self, name: &str) -> Result<Option<Account>, Error> {
                let query =
                    || sqlx::query("SELECT * FROM accounts WHERE name = $1").bind(name.to_owned());
                let row = self.optional(query).await?;
                row.as_ref().map(rows::account).transpose()
            }

            async fn admit(&self, participation: &Participation) -> Result<(), Error> {
                let query = || {
                    $crate::database::statements::attendance!(participation, "DO NOTHING")
                };
                self.write(query).await?;
                Ok(())
            }

            async fn leave(&self, participation: &Participation) -> Result<(), Error> {
                let query = || {
                    $crate::database::statements::attendance!(
                        participation,
                        "DO UPDATE SET left_ms = excluded.left_ms WHERE participations.left_ms IS NULL \
                         OR participations.left_ms < excluded.left_ms"
                    )
                };
                self.write(query).await?;
                Ok(())
            }

            async fn participations(
                &self,
                meeting: MeetingId,
                limit: u32,
            ) -> Result<Vec<Participation>, Error> {
                let query = || {
                    sqlx::query(
                        "SELECT * FROM participations WHERE meeting = $1 \
                         ORDER BY admitted_ms, participant LIMIT $2",
                    )
                    .bind(meeting.to_vec())
                    .bind(i64::from(limit))
                };
                let rows = self.all(query).await?;
                rows.iter().map(rows::participation).collect()
            }

            async fn audit(&self, entry: &AuditEntry) -> Result<(), Error> {
                self.before_audit(entry).await?;
                let query = || {
                    sqlx::query(
                        "INSERT INTO audit_log (at_ms, action, meeting, actor, trace_id) \
                         VALUES ($1, $2, $3, $4, $5)",
                    )
                    .bind(rows::signed(entry.at_ms))
                    .bind(entry.action.clone())
                    .bind(entry.meeting.map(MeetingId::to_vec))
                    .bind(entry.actor.map(ParticipantId::to_vec))
                    .bind(entry.trace_id.clone())
                };
                self.write(query).await?;
                Ok(())
            }

            async fn audit_log(
                &self,
                meeting: MeetingId,
                limit: u32,
            ) -> Result<Vec<AuditEntry>, Error> {
                let query = || {
                    sqlx::query("SELECT * FROM audit_log WHERE meeting = $1 ORDER BY id LIMIT $2")
                        .bind(meeting.to_vec())
                        .bind(i64::from(limit))
                };
                let rows = self.all(query).await?;
                rows.iter().map(rows::audit_entry).collect()
            }

            async fn ping(&self) -> Result<(), Error> {
                self.optional(|| sqlx::query("SELECT 1")).await?;
                Ok(())
            }

            async fn close(&self) {
                self.let_go().await;
            }
        }
    };
}
pub(super) use statements;
