"""What the harness costs, beside its peers: `./invoke bench WHAT`."""
