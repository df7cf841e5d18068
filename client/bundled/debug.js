// Stands in for the package `debug`: what fails-components would tell its own developers goes nowhere.
export default () => () => {}
