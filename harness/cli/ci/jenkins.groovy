// The gate on every change request: a fine-tune that is not proven better, or breaks something, is red.
// What runs: suites/ci.sh. Which models: suites/pytest.ini. Written by `tunegate init`.
//
// A multibranch pipeline with this file as its script path. Plugins: Docker Pipeline, JUnit.
pipeline {
    // Your own machine with a GPU: agent { label 'gpu' }
    agent { docker { image 'python:@PYTHON@' } }
    options {
        disableConcurrentBuilds(abortPrevious: true)
        timeout(time: 2, unit: 'HOURS')
    }
    environment {
        HF_HUB_DISABLE_TELEMETRY = '1'
        HOME = "${env.WORKSPACE}"
    }
    stages {
        stage('ship or not') {
            steps {
                script {
                    int code = sh(script: 'sh suites/ci.sh', returnStatus: true)
                    if (code == 10) {
                        unstable('tunegate: UNDECIDED')
                    } else if (code != 0) {
                        error("tunegate: not SHIP (exit code ${code})")
                    }
                }
            }
        }
    }
    post {
        always {
            archiveArtifacts artifacts: 'tunegate-run/**', allowEmptyArchive: true
            // The colour is that of the exit code.
            junit testResults: 'tunegate-run/junit.xml', allowEmptyResults: true, skipMarkingBuildUnstable: true
        }
    }
}
