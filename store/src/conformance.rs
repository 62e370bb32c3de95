//! Conformance suite: the same tests over a SQLite file and over a real PostgreSQL server.
//!
//! A [`World`] is a store of its own, whose database a test can change or take away.

mod attempts;
mod bad_rows;
mod bulk_runs;
mod callbacks;
mod concurrency;
mod crash;
mod error_groups;
mod idempotency;
mod lists;
mod outages;
mod overview;
mod parked;
mod payloads;
mod plans;
mod refusals;
mod replay;
mod results;
mod retention;
mod retry_now;
mod rows;
mod slow;
mod stats;
mod url;
mod world;

use world::World;

/// Makes of each named function a test over SQLite and a test over PostgreSQL.
macro_rules! for_both_backends {
    ($($group:ident: $($test:ident),+ $(,)?;)+) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$group::$test(super::World::sqlite().await).await;
                }
            )+)+
        }
        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$group::$test(super::World::postgres().await).await;
                }
            )+)+
        }
    };
}

for_both_backends! {
    attempts:
        each_attempt_is_kept_with_its_worker_times_and_error,
        an_attempt_that_is_told_again_is_kept_once,
        a_report_that_comes_after_the_end_is_kept_too,
        the_attempts_of_earlier_runs_stay,
        attempts_go_with_their_request,
        the_attempts_that_are_told_are_bounded,
        the_failure_of_a_request_of_an_earlier_release_is_told;
    results:
        a_request_is_queued_until_its_result_comes,
        a_request_that_was_prepared_is_recorded_once_that_is_begun,
        a_request_whose_recording_was_not_begun_is_recorded_if_there_is_time,
        a_result_that_comes_first_makes_its_own_row_and_stays,
        of_two_results_in_one_batch_the_first_wins,
        of_two_results_in_two_batches_the_first_wins_also_after_a_restart,
        the_database_decides_as_the_function_does,
        of_two_services_only_one_is_first,
        a_success_beats_that_its_message_was_given_up,
        a_cancelled_request_stays_cancelled,
        of_many_requests_those_that_have_ended_are_found,
        scheduled_retries_are_recorded_unless_they_are_old,
        a_retry_with_a_wrong_run_does_not_keep_a_request_from_its_end,
        a_retry_of_an_unknown_request_makes_no_row;
    error_groups:
        failures_with_the_same_pattern_are_a_group,
        attempts_that_are_repeated_are_counted_in_groups_once,
        a_request_is_in_a_group_as_long_as_it_is_failed,
        a_code_with_many_groups_has_one_for_all_further_errors,
        a_group_goes_when_nobody_has_seen_it_for_the_retention,
        groups_are_looked_at_when_nothing_else_is_left_to_delete,
        failures_of_an_earlier_release_are_grouped;
    bad_rows:
        a_bad_row_fails_alone,
        a_bad_request_fails_alone_among_many_callers;
    parked:
        a_parked_message_is_kept_once_and_ends_its_request,
        a_parked_message_was_received_by_the_stores_clock,
        a_parked_message_without_an_id_is_kept_once,
        equal_messages_of_two_requests_are_both_kept,
        an_empty_message_is_listed_with_the_others,
        a_message_without_a_request_can_be_read_and_deleted;
    replay:
        a_replay_begins_the_next_run,
        only_what_has_failed_in_this_run_is_replayed,
        a_result_of_the_next_run_that_comes_before_its_replay_stays,
        a_result_without_a_run_ends_a_replay_that_is_noted,
        of_two_services_one_replays,
        a_replay_has_a_callback_of_its_own,
        what_is_discarded_expires_at_once_with_its_messages,
        a_request_with_a_pending_callback_is_not_discarded;
    retry_now:
        a_retry_that_begins_at_once_is_a_run_that_counts_on,
        after_the_last_run_there_is_none,
        only_what_waits_for_this_attempt_is_retried_now,
        of_several_retries_at_once_the_last_run_counts,
        news_of_a_run_that_is_noted_show_that_it_was_published,
        what_is_missing_is_published_again_and_keeps_its_time;
    payloads:
        payloads_survive_byte_by_byte,
        a_nul_in_a_text_does_not_lose_the_result,
        a_very_long_error_is_shortened,
        a_batch_of_large_results_is_stored;
    lists:
        the_list_is_newest_first_page_by_page,
        a_list_can_be_of_a_status_or_a_type_or_both,
        a_list_by_status_is_merged_from_all_types,
        a_cursor_stays_where_it_is_while_others_come,
        open_requests_are_read_in_the_order_of_their_ids,
        a_list_meets_all_conditions_of_its_filter,
        a_count_is_capped,
        a_page_looks_at_so_many_rows_and_no_more;
    plans:
        nothing_that_reads_scans_a_big_table,
        a_rare_filter_is_not_read_by_a_plan_for_common_ones,
        a_common_filter_is_not_read_whole,
        callbacks_to_a_full_host_are_passed_over,
        no_filter_scans_or_sorts;
    overview:
        the_overview_counts_what_is_open_waits_for_a_retry_and_has_failed,
        a_rate_of_more_than_a_thousand_a_minute_is_that_of_the_last_thousand,
        the_database_can_be_inspected;
    stats:
        what_happens_is_counted_by_type_once,
        totals_follow_each_change_of_a_status,
        of_two_services_the_counts_add_up,
        old_minutes_become_hours_and_old_hours_go,
        statistics_survive_a_restart;
    retention:
        what_has_ended_expires_and_leaves_a_tombstone,
        a_parked_message_goes_after_its_request,
        parked_messages_go_when_no_more_requests_expire,
        what_has_not_ended_never_expires,
        a_tombstone_stays_as_long_as_a_key_stands_for_it,
        a_batch_looks_at_so_many_due_keys_and_no_more,
        a_batch_whose_time_is_over_is_not_the_last,
        a_batch_of_large_results_is_not_the_last,
        a_batch_of_large_parked_messages_is_not_the_last,
        it_is_the_stores_clock_that_counts;
    idempotency:
        one_call_sends_and_the_others_get_its_answer,
        a_request_of_which_only_the_result_came_is_recorded_by_the_next_call,
        of_many_calls_at_once_one_sends,
        a_released_key_is_free_or_taken_over,
        a_key_that_was_taken_over_is_not_deleted_by_its_first_call,
        a_key_that_was_taken_over_is_kept_for_another_day,
        a_call_that_claims_twice_can_still_release_its_key,
        the_age_of_a_claim_is_by_the_stores_clock,
        a_key_is_kept_as_long_as_its_request_and_a_day_at_least,
        many_requests_share_a_commit_and_a_bad_one_fails_alone;
    callbacks:
        a_callback_is_due_from_the_end_of_its_request_on,
        a_result_that_comes_first_leaves_its_callback_to_the_request,
        a_superseded_result_makes_no_callback,
        a_later_run_gets_a_new_callback,
        of_two_services_one_leases_a_callback,
        a_callback_without_a_report_is_due_again_after_its_lease,
        an_attempt_that_failed_is_repeated_at_its_time,
        a_busy_host_does_not_hold_up_the_others,
        slow_hosts_leave_capacity_to_the_others,
        old_callbacks_to_a_slow_host_are_given_up,
        the_time_for_attempts_begins_anew_when_one_is_asked_for,
        a_request_with_a_pending_callback_does_not_expire,
        a_callback_that_ended_can_be_retried,
        a_callback_that_waits_can_be_retried_now,
        callbacks_are_due_by_the_stores_clock,
        whatever_may_have_made_a_callback_due_notifies;
    bulk_runs:
        a_bulk_run_is_made_once_and_kept,
        of_two_services_one_leases_a_bulk_run,
        a_bulk_run_without_a_report_is_due_again_after_its_lease,
        a_bulk_run_that_is_to_stop_is_told_with_its_next_report,
        bulk_runs_that_are_over_go_after_the_retention;
    concurrency:
        ten_thousand_callers_share_commits,
        services_that_write_the_same_rows_in_opposite_orders_do_not_deadlock,
        concurrent_operations_of_all_kinds_agree_in_the_end;
    slow:
        slow_results_land_and_hold_up_no_caller,
        a_caller_who_waits_in_vain_makes_no_outage;
    outages:
        a_store_that_goes_away_comes_back_by_itself_and_has_lost_nothing,
        a_store_that_is_away_at_the_start_is_opened_when_it_appears,
        a_store_that_hangs_is_reported_in_bounded_time,
        a_store_that_hangs_is_found_by_callers_with_a_deadline,
        a_store_that_hung_again_and_again_is_used_as_soon_as_it_answers,
        a_read_that_fails_does_not_make_the_store_unavailable,
        a_store_that_opens_and_takes_no_writes_is_tried_less_and_less_often,
        services_that_start_at_once_agree_on_the_tables;
}
