"""Images, bills of materials, attestations, releases and outdated dependencies."""
