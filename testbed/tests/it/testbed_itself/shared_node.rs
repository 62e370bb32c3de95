//! The node that tests share, each with its own virtual host, and the foreign client.

use anyhow::Result;
use testbed::{
    foreign::{Foreign, Properties, arguments},
    shared_node,
};

#[tokio::test]
async fn every_test_has_a_vhost_of_its_own_on_one_node() -> Result<()> {
    let (mine, yours) = tokio::join!(shared_node::vhost(), shared_node::vhost());
    assert_eq!(mine.address(), yours.address());
    Foreign::connect(&mine.url).await?.declare_queue("mine", arguments([])).await?;
    assert!(Foreign::connect(&yours.url).await?.depth("mine").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_vhost_goes_with_the_thread_that_asked_for_it() -> Result<()> {
    let another_test = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let vhost = shared_node::vhost().await;
            Foreign::connect(&vhost.url).await?;
            anyhow::Ok(vhost.url)
        })
    });
    let url = another_test.join().expect("the other test did not panic")?;
    assert!(Foreign::connect(&url).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_foreign_client_sees_properties_headers_and_counts() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let client = Foreign::connect(&vhost.url).await?;
    client.declare_queue("letters", arguments([])).await?;
    let letter = Properties::default()
        .with_message_id("42".into())
        .with_headers(arguments([("colour", 7.into())]));
    client.publish("", "letters", letter, b"\xff\x00").await?;
    assert_eq!(client.depth("letters").await?.messages, 1);

    let got = client.get("letters").await?.expect("the letter is there");
    assert_eq!(
        (got.body.as_slice(), got.header("colour").as_deref()),
        (b"\xff\x00".as_slice(), Some("7"))
    );
    assert_eq!(got.properties.message_id().as_ref().map(|id| id.as_str()), Some("42"));
    assert!(client.get("letters").await?.is_none());
    assert!(
        client.publish("", "nobody", Properties::default(), b"").await.is_err(),
        "a returned message is an error"
    );
    Ok(())
}
