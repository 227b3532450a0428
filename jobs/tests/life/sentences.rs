//! Where each sentence of DESIGN.md about the life of a pull and about credits is tested. Those of `life` run on SQLite and
//! PostgreSQL, and on MariaDB in `make test-long` or always; `invariants` are checked all the time while they do.
//!
//! The life of a pull:
//!
//! | sentence | tests |
//! |---|---|
//! | Accept: the reference is parsed | `entity/tests/values/grammar.rs` `api/tests/graphql/refusals.rs::what_the_caller_can_mend_is_a_user_error` |
//! | the registry allow-list | `api/tests/graphql/refusals.rs::what_the_caller_can_mend_is_a_user_error` `jobs/tests/registry/inside.rs` |
//! | the user's limits | `requests::live_jobs_are_limited` |
//! | the job is inserted, QUEUED, with its hold | `basics::pull_and_remove` `api/tests/graphql/refusals.rs::what_the_caller_can_mend_is_a_user_error` |
//! | it will end in a final state, whatever crashes | `chaos::nothing_is_lost_when_workers_are_killed` `api/tests/end_to_end/acknowledged/mod.rs::what_was_acknowledged_survives_a_kill_on_sqlite` |
//! | Dispatch: fairly between users | `order::a_users_many_jobs_let_another_user_pass` |
//! | a bounded number ahead of the workers | `order::no_more_jobs_go_ahead_than_run_at_a_time` |
//! | Redis may be flushed, restarted or away | `queue_loss::a_flush_loses_no_job` `queue_loss::jobs_wait_for_redis` |
//! | Claim: a worker that lost its lease cannot settle | `faults::an_old_lease_cannot_settle` |
//! | a job whose worker vanished is taken over | `faults::a_worker_killed_in_a_pull_is_replaced` `faults::a_worker_killed_before_the_settle_is_replaced` `api/tests/config.rs::the_defaults_are_those_of_the_design` |
//! | Run: the manifest upstream is read first | `errors::too_little_credit_at_the_manifest` `errors::an_unknown_tag_fails_at_once` |
//! | what the engine already had is recorded durably | `requests::an_operators_image_stays` `lost::an_image_that_an_operator_made_stays_with_its_tags` `faults::a_worker_killed_before_the_settle_is_replaced` |
//! | one transfer per (host, reference), joined, and all see its progress | `sharing::two_users_share_a_transfer_and_an_image` |
//! | nobody gets an image by joining, or by its digest, that the registry would not give them | `credentials::a_private_image_is_for_those_with_a_login` `credentials::nobody_joins_the_transfer_of_an_image_that_is_not_theirs` |
//! | then inspect: image id, size, exposed ports, digest, platform | `api/tests/end_to_end/pulls.rs::one_process_pulls_reports_charges_and_refunds` |
//! | Settle: image, charge, hold and state in one transaction | `basics::pull_and_remove` `support/invariants.rs` |
//! | settling is idempotent | `faults::an_old_lease_cannot_settle` |
//! | settling, removing, publishing and reconciling take the (host, image id) row first | `interleavings::two_users_pull_and_remove_the_same_image` `interleavings::three_users_while_it_is_published_or_deleted_by_hand` |
//! | settle looks again that the engine still has the image, and pulls again if not | `lost::an_image_deleted_before_the_settle_is_pulled_again` |
//! | a removal deletes on the engine, already gone is fine | `lost::a_removal_of_what_is_gone_succeeds` |
//! | FAILED at once where trying again cannot help | `errors::an_unknown_tag_fails_at_once` `foreign_texts::a_broken_config_fails` `foreign_texts::an_image_of_too_many_layers_is_refused_at_once` `foreign_texts::what_the_database_refuses_ends_the_job` |
//! | RETRYING, and after the last attempt DEAD | `errors::an_unreachable_registry_is_tried_until_dead` |
//! | with exponential back-off and jitter | `jobs/src/job/backoff.rs::it_doubles_up_to_the_most` `jobs/src/job/backoff.rs::never_more_than_the_most` |
//! | that survives restarts | `patience::a_back_off_survives_a_restart` |
//! | dead letters are inspected, redriven or discarded | `errors::an_unreachable_registry_is_tried_until_dead` `administration::dead_letters_are_redriven` `administration::a_discarded_dead_letter_is_passed_by` `api/tests/end_to_end/board.rs` |
//! | a silent engine uses up no attempt | `engines::a_silent_engine_uses_up_no_attempt` |
//! | nor does a worker's hand-back at shutdown | `faults::an_orderly_stop_uses_up_no_attempt` |
//! | nor does a registry's Retry-After | `patience::a_registrys_retry_after_uses_up_no_attempt` |
//! | a worker whose engine is silent claims nothing | `credits::a_worker_whose_engine_is_silent_claims_nothing` |
//! | Progress: at most 10 a second per job | `jobs/src/progress/coalescer.rs::a_change_each_millisecond_is_told_ten_times_a_second` `jobs/src/progress/coalescer.rs::first_at_once_last_always_and_never_too_often` |
//! | the snapshot first, then each change, on whichever gateway | `api/tests/end_to_end/pulls.rs::a_fleet_pulls_reports_on_any_gateway_charges_and_refunds` |
//! | Remove: the engine's image goes only when nobody else holds it | `sharing::two_users_share_a_transfer_and_an_image` |
//! | and Wharfinger brought it | `requests::an_operators_image_stays` `lost::an_image_that_an_operator_made_stays_with_its_tags` |
//! | never while a container uses it | `requests::an_image_in_use_stays` |
//! | images are deleted by id | `sharing::a_moved_tag_is_paid_anew` |
//! | a tag is removed only while it resolves to that id | `sharing::a_moved_tag_is_paid_anew` |
//! | and nobody else holds (reference, id) | `sharing::two_users_share_a_transfer_and_an_image` `sharing::two_tags_of_one_image_are_paid_once` |
//! | a removal that has touched the engine is not cancellable | `engines::a_worker_killed_in_a_deletion_is_replaced` |
//! | one user's jobs on one (host, reference) run in order | `order::jobs_of_one_user_on_one_reference_run_in_order` `order::a_removal_waits_for_the_pull_before_it` |
//! | a second removal of the same image returns the live job | `requests::a_second_removal_is_the_first` |
//! | a host gone for long: pulls FAIL, removals SUCCEED, holdings are LOST and refunded | `engines::a_lost_host_gives_everything_back` `came_back::a_host_that_comes_back_while_it_is_given_up_keeps_everything` |
//!
//! Credits:
//!
//! | sentence | tests |
//! |---|---|
//! | 1 byte of the engine's unpacked size is 1 micro-credit | `basics::pull_and_remove` |
//! | new users get their credits as a ledger GRANT | `basics::pull_and_remove` `api/tests/end_to_end/pulls.rs::one_process_pulls_reports_charges_and_refunds` |
//! | total is the sum of entries, held that of unfinished jobs, available never negative | `support/invariants.rs` |
//! | a pull needs a minimum, and holds that much at once | `api/tests/graphql/refusals.rs::what_the_caller_can_mend_is_a_user_error` `basics::pull_and_remove` |
//! | the hold becomes the expected charge | `credits::the_hold_becomes_the_expected_charge` |
//! | 0 if the user already pays for that image id | `credits::an_image_that_is_paid_for_is_not_held_for_again` |
//! | less what the pull gives back | `credits::what_a_moved_tag_gives_back_pays_for_its_successor` |
//! | the hold rises by at most what is available | `credits::a_hold_rises_by_at_most_what_is_available` |
//! | what certainly costs too much FAILS before a byte is fetched | `errors::too_little_credit_at_the_manifest` |
//! | the settled charge is the exact size, net likewise | `credits::what_a_moved_tag_gives_back_pays_for_its_successor` |
//! | more than that FAILS: the tag is put back, the image leaves, nothing is charged | `errors::too_little_credit_at_the_settle` `put_back::a_tag_goes_back_after_a_worker_died_in_the_last_attempt` |
//! | a user pays once per (host, image id), and the last tag's removal refunds exactly that | `sharing::two_tags_of_one_image_are_paid_once` |
//! | every private holder pays, gets back their own, and the engine pulls it once | `sharing::two_users_share_a_transfer_and_an_image` `sharing::many_users_pull_at_the_same_moment` |
//! | public images cost nothing | `public::a_public_image_is_pulled_at_once_and_for_nothing` `public::another_name_of_a_public_image_costs_nothing` |
//! | and everyone sees them | `api/tests/graphql/publishing.rs::an_image_is_published_and_used_by_everyone` |
//! | only an administrator publishes | `administration::who_is_no_administrator_any_more_changes_nothing` `api/tests/graphql/publishing.rs::an_image_is_published_and_used_by_everyone` |
//! | refreshes | `public::an_administrator_refreshes_a_public_image` `public::a_refresh_that_finds_nothing_new_changes_nothing` |
//! | or removes them | `public::only_an_administrator_removes_a_public_image` |
//! | publishing covers the (host, image id): each holder is refunded once, their private holdings end | `public::publishing_refunds_every_holder_once` `public::publishing_leaves_other_images_of_the_tag_alone` |
//! | their queued removals SUCCEED without a refund | `public::queued_removals_of_a_published_image_succeed` `public::a_running_removal_of_a_published_image_succeeds` `public::a_failed_removal_of_a_published_image_is_not_tried_again` |
//! | pulls under way settle free | `public::a_running_pull_of_a_published_image_is_free` `public::a_queued_pull_of_what_became_public_asks_nobody` |
//! | making one private again is refused | `public::publishing_refunds_every_holder_once` |
//! | a pull of a public reference succeeds at once, without engine or registry | `public::a_public_image_is_pulled_at_once_and_for_nothing` `public::a_pull_of_a_public_reference_lets_go_of_what_it_meant_before` |
//! | pulling what the viewer already holds charges nothing | `credits::what_is_held_already_costs_nothing` |
//! | a new manifest digest with the same id is only noted | `credits::what_is_held_already_costs_nothing` |
//! | a moved tag: pulled, charged, and the old holding let go in the same settle | `sharing::a_moved_tag_is_paid_anew` |
//! | its id is refunded only with the viewer's last tag of it | `credits::a_moved_tag_leaves_what_another_tag_pays_for` |
//! | the others keep what they paid for, by id, until they let go | `sharing::a_moved_tag_is_paid_anew` |
//! | or pull again | `credits::whoever_lost_a_tag_gets_the_new_image_by_pulling_again` |
//! | a retry holds anew, attempt numbers continue, maxAttempts grows | `requests::a_failed_pull_is_retried` `errors::an_unreachable_registry_is_tried_until_dead` |
//! | or is refused | `requests::a_cancelled_pull_is_retried_only_with_credits` |
//! | idempotency keys are per user and mutation | `requests::an_idempotency_key_makes_one_job` `credits::a_key_is_its_users_own` |
//! | A grant is idempotent by key | `jobs/tests/life/accounts/credits.rs::a_key_moves_credits_once` |
//! | and never takes available below zero | `jobs/tests/life/accounts/credits.rs::grants_add_up_and_never_go_below_zero` |
//! | refunds carry a reason | `basics::pull_and_remove` `sharing::a_moved_tag_is_paid_anew` `lost::what_an_operator_removes_is_refunded_at_once` `engines::a_lost_host_gives_everything_back` |
//!
//! Invariants, on every database (those of `life` by themselves), and errors:
//!
//! | sentence | tests |
//! |---|---|
//! | 1: every acceptance, and every retry, ends in one final state | `chaos::nothing_is_lost_when_workers_are_killed` `jobs/tests/model/mod.rs::sequences_on_sqlite` `jobs/tests/model/mod.rs::fixed_sequences_on_postgres` `jobs/tests/model/mod.rs::fixed_sequences_on_mariadb` `errors::an_unreachable_registry_is_tried_until_dead` |
//! | and every hold is settled or released once | `support/invariants.rs` `faults::an_old_lease_cannot_settle` |
//! | 2: total, held and available, at every committed instant | `support/invariants.rs` `constraints::nothing_is_negative` `chaos::nothing_is_lost_when_workers_are_killed` |
//! | 3: one CHARGE per (user, host, image id) held, one REFUND for it | `support/invariants.rs` `constraints::one_charge_and_one_refund_of_a_payment` `constraints::one_live_holding_of_a_reference` |
//! | mutations with a key happen once while the key is kept | `constraints::a_key_is_used_once` `requests::an_idempotency_key_makes_one_job` |
//! | a grant's key is kept for ever | `housekeeping::a_grants_key_is_kept_for_ever` |
//! | 4: an image the engine lost becomes LOST and is refunded | `lost::what_an_operator_removes_is_refunded_at_once` `lost::what_went_while_nobody_listened_is_found` `public::a_public_image_that_the_engine_lost_is_lost` |
//! | one that nobody holds is only ever removed if Wharfinger brought it | `lost::an_image_that_an_operator_made_stays_with_its_tags` `sharing::somebody_elses_tag_keeps_the_image` `lost::an_image_that_an_operator_only_untags_is_kept` |
//! | 5: nobody sees another user's things, by any query, id, subscription or error | `api/tests/graphql/authorisation/mod.rs::everybody_is_answered_as_the_table_says` `api/tests/graphql/authorisation/mod.rs::everybody_is_answered_as_the_table_says_on_postgres`  |
//! | or by the timing of a name | `jobs/tests/life/accounts/passwords.rs::what_is_wrong_is_answered_alike_after_the_same_work` |
//! | nor gets another's image by its digest | `credentials::a_private_image_is_for_those_with_a_login` `stolen_digests::an_image_is_not_had_by_the_digest_of_its_config` `stolen_digests::a_layer_is_not_had_by_its_digest` `stolen_digests::an_image_is_not_had_by_the_digest_of_its_manifest` `stolen_digests::what_another_repository_brings_meanwhile_is_not_had_either` |
//! | 6: an acknowledged mutation survives kill -9 of any process the moment after | `api/tests/end_to_end/acknowledged/mod.rs::what_was_acknowledged_survives_a_kill_on_sqlite` `api/tests/end_to_end/acknowledged/mod.rs::what_was_acknowledged_survives_a_kill_on_postgres` `api/tests/end_to_end/acknowledged/mod.rs::what_was_acknowledged_survives_a_kill_on_mariadb` `queue_loss::a_flush_loses_no_job` |
//! | Errors: what the caller can mend is a user error | `api/tests/graphql/refusals.rs::what_the_caller_can_mend_is_a_user_error` |
//! | the request's have a code | `api/tests/graphql/refusals.rs::a_token_that_nobody_has_is_refused` `api/tests/end_to_end/limits/rate.rs::too_many_requests_are_refused_with_when_to_come_back_and_without_a_statement` `api/tests/end_to_end/limits/time.rs::a_token_that_cannot_be_looked_up_is_not_called_bad` |
//! | work that failed later has `Job.error` | `errors::an_unknown_tag_fails_at_once` |
//! | INTERNAL carries an id that the log has, and no detail | `api/tests/end_to_end/refusals.rs::a_fault_of_the_program_is_answered_with_an_id_that_the_log_has` |

use std::path::{Path, PathBuf};

/// The file of a test named here, and the test's name if one is named: `module::test` of this folder, or a path from the
/// workspace's root.
fn place(named: &str) -> (PathBuf, Option<&str>) {
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (file, test) = match named.split_once("::") {
        Some((file, test)) => (file, Some(test)),
        None => (named, None),
    };
    let file = match file.split_once('/') {
        None => jobs.join(format!("tests/life/{file}.rs")),
        Some(("support", _)) => jobs.join("tests/life").join(file),
        Some(_) => jobs.join("..").join(file),
    };
    (file, test)
}

#[test]
fn every_test_that_is_named_here_exists() {
    let table = include_str!("sentences.rs").lines();
    let rows = table.filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"));
    let mut named = 0;
    for row in rows.filter(|row| *row != "sentence | tests") {
        let (sentence, tests) = row.rsplit_once(" | ").unwrap();
        // What stands between back-quotes.
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "without a test: {sentence}");
        for test in tests {
            named += 1;
            let (file, name) = place(test);
            let source = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("no {test}"));
            let found = name.is_none_or(|name| source.contains(&format!("fn {name}(")));
            assert!(found, "no {test}");
        }
    }
    assert!(named > 60, "{named} tests in the table");
}
