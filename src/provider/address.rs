//! Which network addresses a namespaced provider may be reached at.
//!
//! A tenant chooses the URL of a namespaced provider, and the operator is inside the cluster's network: without this
//! rule the URL could point at the operator's own node or at the cloud's metadata service. Private ranges are allowed,
//! since in-cluster servers have such addresses (docs/security.md, "What stops them").

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv6Net};

/// Metadata and host services of clouds outside the ranges that are refused anyway: Alibaba, Azure's wire server,
/// Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// The same for IPv6: AWS (metadata, DNS and time share the prefix) and Google.
const METADATA_V6: [Ipv6Net; 2] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
];

/// A range of addresses, as `127.0.0.0/8`, `fd00::/8` or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr(IpNet);

/// Why a text isn't a [`Cidr`].
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{0:?} is not a range of addresses: write an address, or an address and a prefix length, as 127.0.0.0/8")]
pub struct CidrError(String);

impl Cidr {
    /// Whether `address` is in the range. IPv4 and its IPv6 spellings are one address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&carried(address))
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let network = match text.split_once('/') {
            None => text.parse::<IpAddr>().ok().map(IpNet::from),
            Some((address, prefix)) => {
                let parts = address.parse().ok().zip(prefix.parse().ok());
                parts.and_then(|(address, prefix)| IpNet::new(address, prefix).ok())
            }
        };
        match network {
            // One address in an IPv6 spelling is the IPv4 address that it carries.
            Some(one) if one.prefix_len() == one.max_prefix_len() => Ok(Self(carried(one.addr()).into())),
            Some(network) => Ok(Self(network)),
            None => Err(CidrError(text.chars().take(60).collect())),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a namespaced provider may not be reached at `address`; `None` where it may. `allowed` are the ranges of
/// `--allow-address`, which take precedence over every refusal.
pub fn refusal(address: IpAddr, allowed: &[Cidr]) -> Option<&'static str> {
    if allowed.iter().any(|range| range.contains(address)) {
        return None;
    }
    match carried(address) {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [first, ..] = address.octets();
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_link_local() || METADATA_V4.contains(&address) {
        Some("a link-local or metadata address")
    } else if first == 0 {
        Some("an unspecified address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if first >= 240 {
        Some("a broadcast or reserved address")
    } else {
        None
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    let metadata = METADATA_V6.iter().any(|network| network.contains(&address));
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unicast_link_local() || metadata {
        Some("a link-local or metadata address")
    } else if address.is_unspecified() {
        Some("an unspecified address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else {
        None
    }
}

/// The IPv4 address that an IPv6 one carries, where a network may deliver to it: mapped (`::ffff:0:0/96`), compatible
/// (`::/96`), NAT64 (`64:ff9b::/96`) and 6to4 (`2002::/16`). Otherwise the address itself.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let last = || v4(g, h).into();
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => last(),
        // `::` and `::1` are in the compatible range and represent themselves.
        [0, 0, 0, 0, 0, 0] if (g, h) > (0, 1) => last(),
        [0x2002, high, low, ..] => v4(high, low).into(),
        _ => address,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_and_what_is_not() {
        let cases = [
            ("127.0.0.1", true),
            ("127.255.255.254", true),
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("100.100.100.200", true),
            ("168.63.129.16", true),
            ("192.0.0.192", true),
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("240.0.0.1", true),
            ("::1", true),
            ("::", true),
            ("fe80::1", true),
            ("febf::1", true),
            ("fd00:ec2::254", true),
            ("fd00:ec2::23", true),
            ("fd20:ce::254", true),
            ("ff02::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:169.254.169.254", true),
            ("::127.0.0.1", true),
            ("::a9fe:a9fe", true),
            ("64:ff9b::127.0.0.1", true),
            ("64:ff9b::a9fe:a9fe", true),
            ("2002:7f00:1::1", true),
            ("2002:a9fe:a9fe::", true),
            // The addresses of in-cluster and public servers.
            ("10.0.0.1", false),
            ("172.16.5.4", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("93.184.216.34", false),
            ("126.255.255.255", false),
            ("128.0.0.1", false),
            ("223.255.255.255", false),
            ("fd00::1", false),
            ("fd12:3456::1", false),
            ("2606:4700::1111", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::10.0.0.1", false),
        ];
        for (address, refused) in cases {
            let found = refusal(address.parse().unwrap(), &[]);
            assert_eq!(found.is_some(), refused, "{address}: {found:?}");
        }
    }

    #[test]
    fn an_allowed_range_goes_before_the_refusal() {
        let allowed: Vec<Cidr> = ["127.0.0.0/8", "fe80::/10", "169.254.169.254"].map(|c| c.parse().unwrap()).into();
        for (address, refused) in [
            ("127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("fe80::1", false),
            ("169.254.169.254", false),
            ("169.254.169.253", true),
            ("::1", true),
            ("127.1.1.1", false),
        ] {
            assert_eq!(refusal(address.parse().unwrap(), &allowed).is_some(), refused, "{address}");
        }
    }

    #[test]
    fn ranges_are_read_and_bad_ones_refused() {
        for (text, shown) in [("127.0.0.0/8", "127.0.0.0/8"), ("::1", "::1/128"), ("0.0.0.0/0", "0.0.0.0/0")] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), shown);
        }
        for text in ["", "127.0.0.0/33", "::/129", "127.0.0.1/", "localhost", "127.0.0/8", "1.2.3.4/-1"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        let everything: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(everything.contains("8.8.8.8".parse().unwrap()));
        assert!(!everything.contains("2606:4700::1111".parse().unwrap()));
    }
}
