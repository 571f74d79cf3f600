//! Which machine an engine runs on, as far as its address tells.
//!
//! Decides what may be timed at once: nothing on one machine, and so, in doubt, nothing at all. A
//! socket is taken to lead to this machine, wherever somebody may have forwarded it to.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};

use super::EngineAddress;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    This,
    /// Another, which has all of these addresses.
    Other(BTreeSet<IpAddr>),
}

impl Machine {
    /// The machine of the engine at `address`, by the name service's answer of this moment.
    pub async fn of(address: Option<&EngineAddress>) -> Self {
        let Some(EngineAddress::Tcp(authority)) = address else { return Self::This };
        let Ok(found) = tokio::net::lookup_host(authority).await else { return Self::This };
        let found: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
        if found.is_empty() || found.iter().any(|ip| is_own(*ip)) {
            return Self::This;
        }
        Self::Other(found)
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::This, Self::This) => true,
            (Self::Other(ours), Self::Other(theirs)) => !ours.is_disjoint(theirs),
            (Self::This, Self::Other(_)) | (Self::Other(_), Self::This) => false,
        }
    }
}

/// Whether an interface of this machine has `ip`: only to such can a socket be bound.
fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// The places in `machines` of those that are one, each group and all groups in order.
pub fn groups(machines: &[Machine]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = vec![];
    for (place, machine) in machines.iter().enumerate() {
        let (same, others): (Vec<Vec<usize>>, Vec<Vec<usize>>) =
            groups.into_iter().partition(|group| group.iter().any(|p| machines[*p].is(machine)));
        groups = others;
        groups.push(same.into_iter().flatten().chain([place]).collect());
    }
    for group in &mut groups {
        group.sort_unstable();
    }
    groups.sort_unstable();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(addresses: &[&str]) -> Machine {
        Machine::Other(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[tokio::test]
    async fn an_address_of_an_own_interface_is_this_machine_and_a_socket_too() {
        for address in
            ["tcp://127.0.0.1:1", "tcp://127.9.9.9:1", "tcp://[::1]:1", "unix:///a", "docker://"]
        {
            let address = address.parse().unwrap();
            assert_eq!(Machine::of(Some(&address)).await, Machine::This, "{address}");
        }
        assert_eq!(Machine::of(None).await, Machine::This);
        // RFC 5737: addresses that nobody has.
        let address = "tcp://192.0.2.7:1".parse().unwrap();
        assert_eq!(Machine::of(Some(&address)).await, other(&["192.0.2.7"]));
    }

    #[test]
    fn machines_that_share_an_address_are_one() {
        let machines = [
            other(&["192.0.2.1"]),
            Machine::This,
            other(&["192.0.2.2"]),
            Machine::This,
            other(&["192.0.2.1", "192.0.2.2"]),
            other(&["192.0.2.3"]),
        ];
        assert_eq!(groups(&machines), [vec![0, 2, 4], vec![1, 3], vec![5]]);
    }
}
