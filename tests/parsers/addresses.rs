//! Ranges of addresses, and which addresses a tenant's provider may be reached at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use membership_operator::provider::address::{Cidr, refusal};
use membership_operator::provider::http::{Endpoint, Policy};
use proptest::prelude::*;

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let first = prop::sample::select(vec![0_u8, 10, 100, 127, 168, 169, 172, 192, 224, 240, 255, 8]);
    prop_oneof![
        any::<u32>().prop_map(Ipv4Addr::from),
        (first, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d))
    ]
}

/// All the ways in which an IPv6 address carries an IPv4 address.
fn carriers(address: Ipv4Addr) -> [Ipv6Addr; 3] {
    let [a, b, c, d] = address.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    [
        address.to_ipv6_mapped(),
        // NAT64 and 6to4 lead to it as well.
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
    ]
}

/// The IPv4 address in the last or the second part of an IPv6 one; another where it carries none.
fn v4_of(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, .., g, h] = v6.segments();
    let (high, low) = if a == 0x2002 { (b, c) } else { (g, h) };
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into()
}

fn range_of_one(address: IpAddr) -> Cidr {
    address.to_string().parse().unwrap()
}

proptest! {
    /// What is read contains the address that it was written with, and what it prints is read back.
    #[test]
    fn a_range_contains_its_own_address(address in any::<IpAddr>(), prefix in 0_u8..=128, text in "(.|\n){0,80}") {
        let written = format!("{address}/{prefix}");
        match written.parse::<Cidr>() {
            Ok(range) => {
                // An IPv6 range has no IPv4 addresses in it, in any notation.
                let carrier = address.is_ipv6() && range_of_one(address).contains(v4_of(address)) && prefix < 128;
                prop_assert!(range.contains(address) != carrier, "{written}");
                prop_assert_eq!(range.to_string().parse::<Cidr>().unwrap(), range);
            }
            Err(error) => prop_assert!(address.is_ipv4() && prefix > 32, "{error}"),
        }
        if let Err(error) = text.parse::<Cidr>() {
            prop_assert!(error.to_string().chars().count() < 800, "{error}");
        }
    }

    /// A longer prefix never contains more.
    #[test]
    fn a_longer_prefix_contains_no_more(a in v4(), b in v4(), prefix in 0_u8..32) {
        let range = |prefix: u8| format!("{a}/{prefix}").parse::<Cidr>().unwrap();
        if range(prefix + 1).contains(b.into()) {
            prop_assert!(range(prefix).contains(b.into()));
        }
    }

    /// An address that a tenant may not reach isn't reached in the clothes of IPv6, nor by another spelling.
    #[test]
    fn no_spelling_of_a_refused_address_passes(address in v4()) {
        let tenant = Policy { restrict_addresses: true, ..Policy::default() };
        let refused = refusal(address.into(), &[]).is_some();
        let number = u32::from(address);
        let [a, b, c, d] = address.octets();
        let spellings = [
            format!("{address}"), format!("{number}"), format!("{number:#x}"), format!("0{number:o}"),
            format!("{a}.{}", number & 0xff_ffff), format!("{a:#x}.{b}.{c:#o}.{d}").replace("0o", "0"),
            format!("[::ffff:{address}]"),
        ];
        for spelling in spellings {
            if let Ok(endpoint) = Endpoint::parse(&format!("https://{spelling}")) {
                prop_assert_eq!(tenant.check(&endpoint).is_err(), refused, "{} of {}", spelling, address);
            }
        }
        for carrier in carriers(address) {
            // What the refusal says to write is what opens it.
            prop_assert_eq!(refusal(carrier.into(), &[range_of_one(carrier.into())]), None);
            prop_assert!(!refused || refusal(carrier.into(), &[]).is_some(), "{carrier} carries {address}");
        }
    }

    /// `--allow-address` goes before every refusal, and opens nothing else.
    #[test]
    fn what_is_allowed_opens_itself_only(address in v4(), other in v4(), prefix in 8_u8..=32) {
        let range: Cidr = format!("{address}/{prefix}").parse().unwrap();
        prop_assert_eq!(refusal(address.into(), &[range]), None);
        if !range.contains(other.into()) {
            prop_assert_eq!(refusal(other.into(), &[range]), refusal(other.into(), &[]));
        }
    }
}
