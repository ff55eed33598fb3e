//! A network that one node alone has lost.

use crate::story::story;

fn told(on_down: &str, lines: &str) -> String {
    let groups = format!(
        "[[network]]\nname = \"front\"\non_down = \"{on_down}\"\n[[network]]\nname = \"back\"\n\
         [[group]]\nname = \"g\"\nnodes = [\"lx4\", \"lx5\"]\n[[group.address]]\naddress = \"10.77.0.100/24\"\n"
    );
    story(&groups, lines)
}

#[test]
fn a_group_leaves_a_node_that_alone_has_lost_the_network_of_its_address() {
    insta::assert_snapshot!(told("move", "up lx4\nup lx5\nlost lx4 1\nfound lx4 1"));
}

#[test]
fn by_default_and_for_another_network_nothing_moves() {
    for (on_down, network) in [("nothing", 1), ("move", 2)] {
        let before = told(on_down, "up lx4\nup lx5");
        let after = told(on_down, &format!("up lx4\nup lx5\nlost lx4 {network}"));
        let last = |text: &str| text.lines().last().unwrap_or_default().to_owned();
        assert_eq!(last(&before), last(&after), "{after}");
    }
}

#[test]
fn what_no_other_node_can_have_stays() {
    insta::assert_snapshot!(told("move", "up lx4\nlost lx4 1\nup lx5\nlost lx5 1"));
}
