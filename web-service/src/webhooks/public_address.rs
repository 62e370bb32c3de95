//! Public addresses: tells the IP addresses of the public internet from private and special ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, c: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

/// The IPv4 blocks of IANA's special-purpose address registry that are not globally reachable, and the host
/// address of a large cloud.
const NOT_PUBLIC_V4: &[Ipv4Net] = &[
    v4(0, 0, 0, 0, 8),        // this network
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // the host of a virtual machine at Azure
    v4(169, 254, 0, 0, 16),   // link-local; metadata services of clouds
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved; broadcast
];

/// All public IPv6 addresses are in this block. Source: IANA's IPv6 address space registry.
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);
/// The blocks in [`GLOBAL_UNICAST`] that are not public. Source: IANA's special-purpose address registry.
const NOT_PUBLIC_V6: &[Ipv6Net] = &[
    v6(0x2001, 0, 0, 23),     // protocol assignments; Teredo, benchmarks, ORCHID
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),     // 6to4, which leads to any IPv4 address
    v6(0x3fff, 0, 0, 20),     // documentation
];
/// NAT64 (RFC 6052): a gateway translates to the IPv4 address in the last 32 bits.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Whether this is an address of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    if NAT64.contains(&address) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    GLOBAL_UNICAST.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
        128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 \
        191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 \
        198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 \
        2000:: 2001:200:: 2001:db7:ffff:: 2001:db9:: 2003:: 2606:4700:4700::1111 2a00:1450:4001::1 \
        3ffe:: 3fff:1000:: 3fff:ffff:ffff:: ::ffff:8.8.8.8 64:ff9b::8.8.8.8";

    const NOT_PUBLIC: &str = "0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.1.2.3 10.255.255.255 100.64.0.0 \
        100.100.100.200 100.127.255.255 127.0.0.0 127.0.0.1 127.255.255.255 168.63.129.16 169.254.0.0 \
        169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.192 192.0.0.255 \
        192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.7 \
        203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.254 255.255.255.255 \
        :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:0.0.0.0 ::ffff:127.0.0.1 ::ffff:10.0.0.1 \
        ::ffff:169.254.169.254 ::ffff:192.168.1.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 \
        64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 64:ff9b:1::10.0.0.1 100::1 \
        100:0:0:1::1 2001::1 2001:0:7f00:1:: 2001:2::1 2001:20::1 2001:1ff:ffff:: 2001:db8::1 \
        2002:7f00:1:: 2002:a00:1:: 2002:808:808:: 3fff::1 3fff:fff:ffff:: 4000:: 5f00::1 fbff:: fc00::1 \
        fd00:ec2::254 fdff:ffff:: fe80::1 febf:ffff:: fec0::1 feff:: ff00:: ff02::1 ff0e::1 \
        1fff:ffff::";

    #[test]
    fn known_addresses_are_classified() {
        for (addresses, expected) in [(PUBLIC, true), (NOT_PUBLIC, false)] {
            for text in addresses.split_whitespace() {
                assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
            }
        }
    }

    #[test]
    fn addresses_that_std_calls_special_are_never_public() {
        let mut octets = [0_u8; 4];
        for first in 0..=255 {
            for second in 0..=255 {
                (octets[0], octets[1]) = (first, second);
                let ip = Ipv4Addr::from(octets);
                let special = ip.is_private() || ip.is_loopback() || ip.is_link_local();
                let special = special || ip.is_multicast() || ip.is_broadcast();
                assert!(!(special && is_public(ip.into())), "{ip}");
                let mapped = ip.to_ipv6_mapped();
                assert_eq!(is_public(ip.into()), is_public(mapped.into()), "{mapped}");
            }
        }
    }
}
