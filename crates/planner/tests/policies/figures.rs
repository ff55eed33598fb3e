//! The next node by a measured figure.

use crate::story::{address_group, story};

fn group(failover: &str) -> String {
    let policy = format!(r#"{{ startup = "first-available", failover = {failover}, failback = "never" }}"#);
    address_group("g", r#"["lx4", "lx5"]"#, &policy, "10.77.0.100/24")
}

#[test]
fn the_node_with_the_most_free_memory_is_next_whatever_the_list_says() {
    insta::assert_snapshot!(story(
        &group("\"free-memory\""),
        "up lx4
         up lx5
         measured lx4 memory 1024
         measured lx5 memory 2048
         breaks g application a: exit status 1
         enable g
         disable g
         enable g"
    ));
}

#[test]
fn equal_figures_go_by_the_list_and_a_node_without_one_comes_last() {
    insta::assert_snapshot!(story(
        &group("\"idle-cpu\""),
        "up lx4
         up lx5
         measured lx5 cpu 50
         restart g
         measured lx4 cpu 50
         restart g"
    ));
}

#[test]
fn the_lowest_value_of_a_script_that_is_not_zero_is_best() {
    insta::assert_snapshot!(story(
        &group("{ script = \"load\", prefer = \"lowest-nonzero\" }"),
        "up lx4
         up lx5
         measured lx4 g 0
         measured lx5 g 7
         restart g
         measured lx4 g 3
         restart g"
    ));
}
