//! One suite for both stores: the same tests, once over a SQLite file and once over a real server.
//!
//! A [`World`] is a store of its own with the means to look behind it and to take it away.

mod callbacks;
mod claims;
mod crash;
mod crowd;
mod endings;
mod failing;
mod lists;
mod outages;
mod payloads;
mod people;
mod retention;
mod url;
mod world;

use world::World;

/// Makes each named test one of SQLite's and one of PostgreSQL's.
macro_rules! for_both_stores {
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

for_both_stores! {
    endings:
        a_request_is_queued_until_its_result_comes,
        a_result_that_comes_first_makes_its_own_row_and_stays,
        of_two_results_in_one_batch_the_first_wins,
        of_two_results_in_two_batches_the_first_wins_also_after_a_restart,
        the_database_decides_as_the_function_does,
        of_two_services_only_one_is_first,
        a_cancelled_request_stays_cancelled,
        of_many_requests_those_that_have_ended_are_told,
        news_of_retries_are_kept_unless_they_are_old,
        news_with_a_wrong_run_keep_no_request_from_its_end;
    failing:
        a_bad_row_fails_alone,
        a_bad_request_fails_alone_among_many_callers,
        a_parked_message_is_kept_once_and_ends_its_request,
        a_parked_message_without_an_id_is_kept_once;
    people:
        a_replay_begins_the_next_run,
        only_what_has_failed_in_this_run_is_replayed,
        an_end_of_the_next_run_that_comes_before_its_replay_stays,
        of_two_services_one_replays,
        a_replay_has_a_callback_of_its_own,
        what_is_discarded_expires_at_once_with_its_messages,
        what_is_still_to_be_told_is_not_discarded,
        a_message_of_nobody_can_be_looked_at_and_cleared_away;
    payloads:
        payloads_survive_byte_by_byte,
        a_nul_in_a_text_does_not_lose_the_result,
        a_batch_of_large_results_is_stored;
    lists:
        the_list_is_newest_first_page_by_page,
        a_list_can_be_of_a_status_or_a_type_or_both,
        a_cursor_stays_where_it_is_while_others_come;
    retention:
        what_is_over_expires_and_leaves_a_tombstone,
        what_is_not_over_never_expires,
        it_is_the_stores_clock_that_counts;
    claims:
        one_call_sends_and_the_others_get_its_answer,
        of_many_calls_at_once_one_sends,
        a_key_that_was_given_up_is_free_or_taken_over,
        a_key_that_was_taken_over_is_not_forgotten_by_who_had_it_before,
        a_call_that_asks_twice_can_still_give_its_key_up,
        how_old_a_claim_is_is_told_by_the_stores_clock,
        a_key_is_kept_as_long_as_its_request_and_a_day_at_least,
        many_requests_share_a_commit_and_a_bad_one_fails_alone;
    callbacks:
        a_callback_is_due_from_the_end_of_its_request_on,
        a_result_that_comes_first_leaves_its_callback_to_the_request,
        what_comes_too_late_is_not_told,
        a_later_end_is_told_anew,
        of_two_services_one_takes_a_callback,
        what_nobody_tells_of_is_due_again,
        an_attempt_that_failed_is_repeated_at_its_time,
        a_busy_host_does_not_keep_others_from_their_turn,
        slow_hosts_leave_room_to_the_others,
        what_is_to_be_told_does_not_expire,
        what_was_told_or_given_up_can_be_told_again,
        what_waits_for_its_next_attempt_can_be_sent_now,
        whoever_looks_sees_the_same_due,
        whatever_may_have_made_a_callback_due_rings;
    crowd:
        ten_thousand_callers_share_commits,
        services_that_write_the_same_rows_in_opposite_orders_do_not_meet,
        a_crowd_of_everything_at_once_agrees_in_the_end;
    outages:
        a_store_that_goes_away_comes_back_by_itself_and_has_lost_nothing,
        a_store_that_is_away_at_the_start_is_opened_when_it_appears,
        a_store_that_hangs_is_reported_in_bounded_time,
        a_store_that_hangs_is_found_by_callers_with_a_deadline,
        a_question_that_fails_does_not_make_the_store_away,
        a_store_that_opens_and_takes_no_writes_is_tried_less_and_less_often,
        services_that_start_at_once_agree_on_the_tables;
}
