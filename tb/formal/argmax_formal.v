// SPDX-License-Identifier: Apache-2.0
//
// Logits come out as they went in, each beat with the index of the largest of its image so far.

`default_nettype none

module argmax_formal #(
    parameter CLASSES = 2,
    parameter LANES   = 1,
    parameter WIDTH   = 2
) (
    input wire                   clk,
    input wire                   rst,
    input wire                   mark,
    input wire [WIDTH*LANES-1:0] s_axis_tdata,
    input wire                   s_axis_tvalid,
    input wire                   m_axis_tready
);

    localparam BEATS    = (CLASSES + LANES - 1) / LANES;
    localparam LEVELS   = $clog2(LANES);
    localparam CAPACITY = LEVELS + 2;

    wire                   s_axis_tready, m_axis_tlast, m_axis_tvalid;
    wire [WIDTH*LANES-1:0] m_axis_tdata;
    wire [15:0]            m_axis_tuser;

    reg [7:0]              base = 0;  // index of the first logit on the input
    reg signed [WIDTH-1:0] best;      // of the image's beats before
    reg [7:0]              best_index;
    wire                   last = base == (BEATS - 1)*LANES;

    argmax #(
        .CLASSES(CLASSES), .LANES(LANES), .WIDTH(WIDTH)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tlast(last), .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tuser(m_axis_tuser), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

    axis_rules #(.WIDTH(WIDTH*LANES + 17)) rules (
        .clk(clk), .rst(rst), .payload({m_axis_tlast, m_axis_tuser, m_axis_tdata}),
        .tvalid(m_axis_tvalid), .tready(m_axis_tready)
    );

    // Logit by logit, a later one only where it is larger.
    reg signed [WIDTH-1:0] largest, logit;
    reg [7:0]              index;
    integer                i;
    always @* begin
        largest = best;
        index   = best_index;
        for (i = 0; i < LANES; i = i + 1) begin
            logit = s_axis_tdata[WIDTH*i +: WIDTH];
            if (base + i < CLASSES && ((base == 0 && i == 0) || logit > largest)) begin
                largest = logit;
                index   = base + i;
            end
        end
    end

    always @(posedge clk) begin
        if (s_axis_tvalid && s_axis_tready) begin
            base       <= last ? 0 : base + LANES[7:0];
            best       <= largest;
            best_index <= index;
        end
        if (rst)
            base <= 0;
    end

    axis_order #(.WIDTH(WIDTH*LANES + 17), .CAPACITY(CAPACITY), .LATENCY(CAPACITY)) order (
        .clk(clk), .rst(rst), .mark(mark),
        .s_payload({last, 8'd0, index, s_axis_tdata}), .s_tvalid(s_axis_tvalid),
        .s_tready(s_axis_tready),
        .m_payload({m_axis_tlast, m_axis_tuser, m_axis_tdata}), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

    axis_progress #(.LIMIT(0)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
